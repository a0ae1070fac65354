// Training on a folder of image files as a user runs it.
#include "cli_support.h"
#include "image_support.h"

using namespace octavo::testing;
using data_test::gradient;
using data_test::jpeg_file;
using data_test::png_file;
using data_test::put_file;
namespace fs = std::filesystem;

namespace {

/// Three classes, one brighter in each colour; JPEG and PNG, sizes from 20 x 28 on.
void write_images(const fs::path& folder, int per_class) {
  for (int kind = 0; kind < 3; ++kind)
    for (int i = 0; i < per_class; ++i) {
      auto picture = gradient(20 + i, 28 + 2 * (i % 5), 3, i);
      for (std::size_t at = static_cast<std::size_t>(kind); at < picture.pixels.size(); at += 3)
        picture.pixels[at] = static_cast<std::uint8_t>(std::min(255, picture.pixels[at] + 50));
      const std::string path = "class" + std::to_string(kind) + "/" + std::to_string(i);
      if (i % 4 == 0) put_file(folder / (path + ".png"), png_file(picture));
      if (i % 4 != 0) put_file(folder / (path + ".jpg"), jpeg_file(picture));
    }
}

void write_set(const TemporaryFolder& folder) {
  write_images(folder / "images/train", 16);
  write_images(folder / "images/val", 6);
  std::string config = tiny_config("unified_int8", 24);
  const std::size_t from = config.find("data:");
  config.replace(from, config.find('\n', from) - from,
                 "data: {set: image_folder, path: images, size: 16, batch: 12,\n"
                 "       augment: [random_resized_crop, flip]}");
  write_text(folder / "a.yaml", config);
}

}  // namespace

TEST_CASE("a network learns from image files, the same for any number of threads and over a resume") {
  TemporaryFolder folder;
  write_set(folder);
  CHECK_THAT(octavo_good(folder, {"check", "a.yaml"}).out,
             ContainsSubstring("image_folder, 48 training samples; 24 steps of 12 samples, 4 an epoch"));
  octavo_good(folder, {"train", "a.yaml", "--out", "run"});
  const auto summary = nlohmann::json::parse(read_text(folder / "run/summary.json"));
  CHECK(summary.at("metric").get<double>() > 0.8);
  CHECK(summary.at("procedural") == false);
  octavo_good(folder, {"train", "a.yaml", "data.threads=3", "train.threads=1", "--out", "other"});
  CHECK(model_bytes(folder / "other", 24) == model_bytes(folder / "run", 24));
  octavo_good(folder, {"train", "a.yaml", "--out", "part", "--steps", "10"});
  octavo_good(folder, {"resume", "part"});
  CHECK(model_bytes(folder / "part", 24) == model_bytes(folder / "run", 24));
  octavo_good(folder, {"eval", "run", "data.batch=1"});
  const auto bench = nlohmann::json::parse(
      octavo_good(folder, {"bench", "data", "a.yaml", "data.threads=1", "--seconds", "0.05", "--json"}).out);
  CHECK(bench.at("threads") == 1);
  CHECK(bench.at("samples_per_second").get<double>() > 0);
}

TEST_CASE("class folders alone train with a share held out") {
  TemporaryFolder folder;
  write_set(folder);
  octavo_good(folder, {"train", "a.yaml", "data.path=images/train", "data.holdout=0.2", "--out", "run"});
  const Outcome outcome = octavo_run(folder, {"check", "a.yaml", "data.path=images/train"});
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err,
             ContainsSubstring((folder / "images/train").string() + " does not say what to evaluate"));
}

TEST_CASE("a damaged image ends a training with 3 and its name") {
  TemporaryFolder folder;
  write_set(folder);
  fs::resize_file(folder / "images/train/class1/5.jpg", 300);
  const Outcome outcome = octavo_run(folder, {"train", "a.yaml", "--out", "run"});
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err,
             ContainsSubstring((folder / "images/train/class1/5.jpg").string() + ": damaged JPEG file") &&
                 ContainsSubstring("train sample"));
}

TEST_CASE("wrong settings of an image folder end with 2 and their place, missing files with 3") {
  TemporaryFolder folder;
  write_set(folder);
  const auto check = [&](const std::vector<std::string>& overrides) {
    std::vector<std::string> arguments{"check", "a.yaml"};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    const Outcome outcome = octavo_run(folder, arguments);
    return std::to_string(outcome.code) + " " + outcome.out + outcome.err;
  };
  CHECK_THAT(check({"data.size=4"}),
             ContainsSubstring("2 ") && ContainsSubstring("data.size=4: data.size: "));
  CHECK_THAT(check({"data.samples=9"}), ContainsSubstring("data.samples=9: data.samples: "));
  CHECK_THAT(check({"data.classes=4"}), ContainsSubstring("data.classes: 4, but "));
  CHECK_THAT(check({"data.holdout=0.1"}),
             ContainsSubstring("data.holdout: ") && ContainsSubstring("leave data.holdout out"));
  CHECK_THAT(check({"data.path=nowhere"}),
             ContainsSubstring("3 ") && ContainsSubstring((folder / "nowhere").string()));
  // With the number of classes, the model can be checked before the images are there.
  CHECK_THAT(check({"data.path=nowhere", "data.classes=3"}),
             ContainsSubstring("3 configuration and model are ok"));
  std::string text = read_text(folder / "a.yaml");
  text.replace(text.find("[random_resized_crop, flip]"), 27, "[flip, random_resized_crop]");
  write_text(folder / "a.yaml", text);
  CHECK_THAT(check({}), ContainsSubstring("a.yaml:3:17: data.augment: "));
}
