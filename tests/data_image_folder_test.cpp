// The set image_folder: layouts, labels, what is refused, crops that the loader asks for.
#include <cstring>
#include <set>

#include "core/log.h"
#include "data/builtin.h"
#include "data/images/resize.h"
#include "data/loader.h"
#include "image_support.h"

using namespace octavo;
using namespace data_test;

namespace {

DataRequest folder_request(const fs::path& path, std::map<std::string, std::string> options = {},
                           Split split = Split::train) {
  DataRequest request = request_for("image_folder", path, split);
  request.options = std::move(options);
  request.options.try_emplace("size", "16");
  return request;
}

/// `per_class` images of sizes around 40 x 50 in each of the classes a, b, c.
void write_classes(const fs::path& folder, int per_class, int first = 0) {
  for (int kind = 0; kind < 3; ++kind)
    for (int i = 0; i < per_class; ++i)
      put_file(folder / std::string(1, static_cast<char>('a' + kind)) / (std::to_string(first + i) + ".jpg"),
               jpeg_file(gradient(38 + i, 50 - i, 3, kind)));
}

void write_set(const fs::path& folder) {
  write_classes(folder / "train", 4);
  write_classes(folder / "val", 2, 100);
}

std::vector<std::int64_t> labels_of(const Dataset& data) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < data.info().samples; ++i) labels.push_back(read_sample(data, i).label);
  return labels;
}

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::string read_error(const Dataset& data, std::int64_t index) {
  try {
    read_sample(data, index);
  } catch (const Error& error) {
    CHECK(error.code() == Errc::data);
    return error.what();
  }
  FAIL("sample " << index << " gave no error");
  return {};
}

std::vector<std::vector<float>> take(const std::shared_ptr<const Dataset>& data, const LoaderOptions& options,
                                     int count) {
  Loader loader(data, options);
  std::vector<std::vector<float>> batches;
  for (int i = 0; i < count; ++i) {
    const auto pixels = loader.next()["image"].as<float>();
    batches.emplace_back(pixels.begin(), pixels.end());
  }
  return batches;
}

LoaderOptions cropping(int workers) {
  LoaderOptions options;
  options.batch = 4;
  options.workers = workers;
  options.augment = {"random_resized_crop", "flip"};
  return options;
}

}  // namespace

TEST_CASE("image_folder takes labels from the names of its folders, in byte order") {
  const TemporaryFolder folder;
  write_set(folder.path());
  put_file(folder / "train/B/x.PNG", png_file(gradient(9, 30)));
  put_file(folder / "train/a/sub/deep.JPEG", jpeg_file(gradient(20, 20)));
  put_file(folder / "val/B/x.jpeg", png_file(gradient(30, 9)));  // a PNG by its bytes
  put_file(folder / "val/a/.hidden.jpg", {1});
  put_file(folder / "val/.git/x.jpg", {1});
  put_file(folder / "train/a/.thumbs/x.jpg", {1});
  const auto train = open_dataset(folder_request(folder.path()));
  CHECK(train->info().class_names == std::vector<std::string>{"B", "a", "b", "c"});
  CHECK(train->info().field("image").type == TensorType{DType::u8, Shape{16, 16, 3}});
  CHECK(labels_of(*train) == std::vector<std::int64_t>{0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3});
  const auto test = open_dataset(folder_request(folder.path(), {}, Split::test));
  CHECK(test->info().class_names == train->info().class_names);
  CHECK(labels_of(*test) == std::vector<std::int64_t>{0, 1, 1, 2, 2, 3, 3});
  CHECK_THROWS_AS(read_sample(*test, 7), Error);
}

TEST_CASE("each name of an evaluation folder is known, val before test") {
  for (const std::string name : {"test", "validation", "valid", "val"}) {
    const TemporaryFolder folder;
    write_classes(folder / "train", 1);
    write_classes(folder / name, 2);
    if (name == "val") write_classes(folder / "test", 3);
    CHECK(open_dataset(folder_request(folder.path(), {}, Split::test))->info().samples == 6);
  }
}

TEST_CASE("a held-out share depends on the names alone") {
  const TemporaryFolder folder;
  for (int i = 0; i < 300; ++i)
    for (const char* name : {"x", "y"})
      put_file(folder / name / (std::to_string(i) + ".png"), png_file(gradient(1, 1, 1, i)));
  const auto samples = [&](Split split, const char* share) {
    DataRequest request = folder_request(folder.path(), {{"holdout", share}}, split);
    request.seed = split == Split::test ? 7 : 8;
    return open_dataset(request)->info().samples;
  };
  const std::int64_t tenth = samples(Split::test, "0.1"), fifth = samples(Split::test, "0.2");
  CHECK(tenth == Approx(60).margin(25));
  CHECK(fifth == Approx(120).margin(35));
  CHECK(samples(Split::train, "0.1") == 600 - tenth);
  // More files leave the others where they are.
  std::set<std::string> before, after;
  const auto collect = [&](std::set<std::string>& images) {
    const auto data = open_dataset(folder_request(folder.path(), {{"holdout", "0.2"}}, Split::test));
    for (std::int64_t i = 0; i < data->info().samples; ++i)
      images.insert(text_of(read_sample(*data, i).image));
  };
  collect(before);
  put_file(folder / "w/new.png", png_file(gradient(2, 2)));
  put_file(folder / "x/new.png", png_file(gradient(2, 2)));
  collect(after);
  CHECK(std::includes(after.begin(), after.end(), before.begin(), before.end()));
  CHECK_THAT(opening_error(folder_request(folder / "", {{"holdout", "0.000001"}}, Split::test)),
             ContainsSubstring("leaves no image of") && ContainsSubstring("to evaluate"));
}

TEST_CASE("a folder named train beside other classes is a class") {
  const TemporaryFolder folder;
  for (const char* name : {"bus", "train"}) put_file(folder / name / "1.jpg", jpeg_file(gradient(20, 20)));
  CHECK(open_dataset(folder_request(folder.path(), {{"holdout", "0.01"}}))->info().classes == 2);
}

TEST_CASE("folders that are no set are refused with what to do") {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& path, std::map<std::string, std::string> options = {},
                         Split split = Split::train, Errc code = Errc::data) {
    return opening_error(folder_request(folder / path, std::move(options), split), code);
  };
  CHECK_THAT(error("nowhere"), ContainsSubstring((folder / "nowhere").string()) &&
                                   ContainsSubstring("CLASS") && ContainsSubstring("data.set=shapes"));
  fs::create_directories(folder / "empty");
  CHECK_THAT(error("empty", {{"holdout", "0.1"}}), ContainsSubstring("has no class folders"));
  write_classes(folder / "flat", 1);
  CHECK_THAT(error("flat"),
             ContainsSubstring("does not say what to evaluate") && ContainsSubstring("data.holdout=0.1"));
  write_set(folder / "set");
  CHECK_THAT(error("set", {{"holdout", "0.1"}}, Split::train, Errc::config),
             ContainsSubstring("data.holdout: "));
  CHECK_THAT(error("set", {{"classes", "4"}}, Split::train, Errc::config),
             ContainsSubstring("data.classes: 4, but ") && ContainsSubstring("has 3 class folders"));
  put_file(folder / "set/train/d/notes.txt", {1});
  CHECK_THAT(error("set"), ContainsSubstring((folder / "set/train/d").string() + " holds no image") &&
                               ContainsSubstring("1 other files"));
  CHECK_THAT(error("set", {}, Split::test),
             ContainsSubstring("class folder 'd' is in " + (folder / "set/train").string() + " but not in " +
                               (folder / "set/val").string()));
  fs::remove_all(folder / "set/train/d");
  fs::remove_all(folder / "set/train/b");
  CHECK_THAT(error("set", {}, Split::test),
             ContainsSubstring("class folder 'b' is in " + (folder / "set/val").string()));
}

TEST_CASE("options out of range are configuration errors") {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> bad{
      {"size", "7"}, {"classes", "x"}, {"holdout", "1"}, {"center_crop", "0"}, {"crop", "1"}};
  for (const auto& [name, value] : bad)
    CHECK_THAT(opening_error(folder_request(folder.path(), {{name, value}}), Errc::config),
               ContainsSubstring("data." + name + ": "));
  CHECK(!published_info(folder_request(folder.path())));
  CHECK(published_info(folder_request(folder.path(), {{"classes", "10"}}))->classes == 10);
}

TEST_CASE("files that are no images are counted, links to folders are not followed") {
  const TemporaryFolder folder;
  write_set(folder.path());
  put_file(folder / "train/a/list.txt", {1});
  put_file(folder / "train/b/x.webp", {1});
  fs::create_directory_symlink(folder / "train/a", folder / "train/a/again");
  fs::create_symlink(folder / "nowhere.jpg", folder / "train/c/broken.jpg");
  fs::create_directory_symlink(folder / "train/a", folder / "train/d");  // a class may be a link
  std::string text;
  const int sink = add_log_sink([&](const LogRecord& record) { text += record.text; });
  const auto data = open_dataset(folder_request(folder.path()));
  remove_log_sink(sink);
  CHECK(data->info().samples == 16);
  CHECK_THAT(text, ContainsSubstring("4 files are left out") && ContainsSubstring("train/a/"));
}

TEST_CASE("evaluation takes the center, without randomness") {
  const TemporaryFolder folder;
  const Picture picture = gradient(64, 64);
  put_file(folder / "train/a/1.png", png_file(picture));
  put_file(folder / "train/a/2.png", png_file(gradient(16, 16)));
  const auto with = [&](const std::string& share) {
    return read_sample(
               *open_dataset(folder_request(folder.path(), {{"holdout", "0.001"}, {"center_crop", share}})),
               0)
        .image;
  };
  Bytes expected(16 * 16 * 3);
  resize({picture.pixels.data(), 64, 64, 3}, {0, 0, 64, 64}, 16, 16, expected.data());
  CHECK(with("1") == expected);
  resize({picture.pixels.data(), 64, 64, 3}, {16, 16, 32, 32}, 16, 16, expected.data());
  CHECK(with("0.5") == expected);
  // An image of the size itself comes as it is.
  const auto data = open_dataset(folder_request(folder.path(), {{"holdout", "0.001"}, {"center_crop", "1"}}));
  CHECK(read_sample(*data, 1).image == gradient(16, 16).pixels);
}

TEST_CASE("an image that EXIF says is turned is read upright") {
  const TemporaryFolder folder;
  const Picture upright = gradient(48, 30);
  Picture stored = gradient(30, 48);  // what a camera on its side stores for orientation 6
  for (int y = 0; y < 48; ++y)
    for (int x = 0; x < 30; ++x)
      for (int c = 0; c < 3; ++c) stored.at(30 - 1 - x, y, c) = upright.at(y, x, c);
  put_file(folder / "a/1.png", png_file(upright));
  put_file(folder / "a/2.png", png_file(stored, {.orientation = 6}));
  const auto data = open_dataset(folder_request(folder.path(), {{"holdout", "0.001"}}));
  REQUIRE(data->info().samples == 2);
  const auto near = [](const Bytes& a, const Bytes& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (std::abs(a[i] - b[i]) > 1) return false;
    return true;
  };
  CHECK(near(read_sample(*data, 0).image, read_sample(*data, 1).image));
  Bytes crops[2];
  for (std::int64_t i = 0; i < 2; ++i) {
    crops[i].resize(16 * 16 * 3);
    std::int64_t label = 0;
    void* out[] = {crops[i].data(), &label};
    data->read_crop(
        i,
        [](std::int64_t h, std::int64_t w) {
          CHECK((h == 48 && w == 30));
          return Region{5, 2, 20, 25};
        },
        out);
  }
  CHECK(near(crops[0], crops[1]));
}

TEST_CASE("a damaged file is named when it is read, and others are read on") {
  const TemporaryFolder folder;
  write_set(folder.path());
  const Bytes good = jpeg_file(gradient(40, 40));
  put_file(folder / "train/b/1.jpg", Bytes(good.begin(), good.begin() + 400));
  put_file(folder / "train/c/0.jpg", {});
  const auto data = open_dataset(folder_request(folder.path()));
  CHECK_THAT(read_error(*data, 5),
             ContainsSubstring((folder / "train/b/1.jpg").string() + ": damaged JPEG file of 400 bytes") &&
                 ContainsSubstring("fetch it again or remove it"));
  CHECK_THAT(read_error(*data, 8), ContainsSubstring("train/c/0.jpg: an empty file"));
  fs::remove(folder / "train/a/0.jpg");
  CHECK_THAT(read_error(*data, 0), ContainsSubstring("train/a/0.jpg: cannot open"));
  fs::resize_file(folder / "train/a/1.jpg", std::uintmax_t{1} << 34);
  CHECK_THAT(read_error(*data, 1), ContainsSubstring("an image file may have"));
  CHECK(read_sample(*data, 6).label == 1);
  LoaderOptions options = cropping(1);
  options.shuffle = false;
  Loader loader(data, options);
  CHECK_THROWS_WITH(loader.next(), ContainsSubstring("data set 'image_folder', train sample 0: "));
}

TEST_CASE("random crops of files depend on seed, epoch and sample alone") {
  const TemporaryFolder folder;
  write_set(folder.path());
  const auto data = open_dataset(folder_request(folder.path()));
  const auto expected = take(data, cropping(0), 9);
  for (int workers : {1, 3}) CHECK(take(data, cropping(workers), 9) == expected);
  LoaderOptions options = cropping(0);
  options.seed = 2;
  CHECK(take(data, options, 9) != expected);
  // A subset reads the same files.
  DataRequest half = folder_request(folder.path());
  half.fraction = 0.5;
  CHECK(take(open_dataset(half), cropping(2), 2).size() == 2);

  // The same sample in two epochs: another part of it; without the crop: the same.
  options = cropping(0);
  options.batch = 12;
  options.shuffle = false;
  options.augment = {"random_resized_crop"};
  const auto epochs = take(data, options, 2);
  CHECK(epochs[0] != epochs[1]);
  options.augment = {};
  const auto still = take(data, options, 2);
  CHECK(still[0] == still[1]);
}

TEST_CASE("a random crop of a file is the region of the file, of other sets that of the image") {
  const TemporaryFolder folder;
  const Picture picture = gradient(40, 40);
  put_file(folder / "a/1.png", png_file(picture));
  const auto data = open_dataset(
      folder_request(folder.path(), {{"holdout", "0.001"}, {"size", "40"}, {"center_crop", "1"}}));
  struct Same : Dataset {
    DatasetInfo description;
    Bytes pixels;
    const DatasetInfo& info() const override { return description; }
    void read(std::int64_t, std::span<void* const> out) const override {
      std::memcpy(out[0], pixels.data(), pixels.size());
      *static_cast<std::int64_t*>(out[1]) = 0;
    }
  };
  auto fixed = std::make_shared<Same>();
  fixed->description = data->info();
  fixed->description.crops = false;
  fixed->pixels = picture.pixels;
  LoaderOptions options = cropping(0);
  options.batch = 1;
  options.augment = {"random_resized_crop", "flip", "pad_crop"};
  CHECK(take(data, options, 20) == take(fixed, options, 20));
  CHECK_THROWS_AS(fixed->read_crop(0, {}, {}), Error);
}

TEST_CASE("a crop that comes too late is a configuration error for files alone") {
  const TemporaryFolder folder;
  write_set(folder.path());
  const auto data = open_dataset(folder_request(folder.path()));
  for (const std::vector<std::string>& augment : {std::vector<std::string>{"flip", "random_resized_crop"},
                                                  {"random_resized_crop", "random_resized_crop"}}) {
    LoaderOptions options = cropping(0);
    options.augment = augment;
    CHECK_THROWS_WITH(Loader(data, options),
                      ContainsSubstring("data.augment: ") && ContainsSubstring("as the first"));
    options.batch = 8;
    CHECK_NOTHROW(Loader(open_dataset(request_for("shapes", "")), options));
  }
}

TEST_CASE("a region outside the image is refused") {
  const TemporaryFolder folder;
  write_set(folder.path());
  const auto data = open_dataset(folder_request(folder.path()));
  Bytes image(16 * 16 * 3);
  std::int64_t label = 0;
  void* out[] = {image.data(), &label};
  for (const Region& region : {Region{0, 0, 0, 5}, Region{-1, 0, 5, 5}, Region{0, 30, 10, 30},
                               Region{0, 0, 1e9, 1}, Region{0, 0, std::nan(""), 1}})
    CHECK_THROWS_WITH(data->read_crop(
                          0, [&](auto, auto) { return region; }, out),
                      ContainsSubstring("lies outside"));
}

TEST_CASE("real photographs: a class folder each, all of them decode") {
  if (!have_real("imagenet-sample/n01440764")) return;
  const std::map<std::string, std::string> options{{"holdout", "0.1"}, {"size", "96"}};
  std::int64_t samples = 0;
  double sum[3] = {};
  for (const Split split : {Split::train, Split::test}) {
    const auto data = open_dataset(folder_request(real_data() / "imagenet-sample", options, split));
    CHECK(data->info().classes == 1000);
    samples += data->info().samples;
    for (std::int64_t i = 0; i < data->info().samples; ++i) {
      const Sample sample = read_sample(*data, i);
      for (std::size_t at = 0; at < sample.image.size(); ++at) sum[at % 3] += sample.image[at];
    }
  }
  CHECK(samples == 1000);
  const DatasetInfo info = *published_info(folder_request("", {{"classes", "1000"}}));
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(sum[c] / (1000 * 96 * 96 * 255.0) == Approx(info.mean[c]).margin(0.02));
}

TEST_CASE("real cifar10 as JPEG files has the pixels of the binary version made from them") {
  if (!have_real("cifar-10-jpeg/test") || !have_real("cifar-10-batches-bin/test_batch.bin")) return;
  const auto files = open_dataset(
      folder_request(real_data() / "cifar-10-jpeg", {{"size", "32"}, {"center_crop", "1"}}, Split::test));
  const auto records = open_dataset(request_for("cifar10", real_data(), Split::test));
  REQUIRE(files->info().samples == 10000);
  CHECK(files->info().class_names == records->info().class_names);
  std::set<std::pair<std::int64_t, std::string>> known;
  for (std::int64_t i = 0; i < 10000; ++i) {
    const Sample sample = read_sample(*records, i);
    known.emplace(sample.label, text_of(sample.image));
  }
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < 10000; ++i) {
    const Sample sample = read_sample(*files, i);
    found += static_cast<std::int64_t>(known.count({sample.label, text_of(sample.image)}));
  }
  CHECK(found == 10000);
}
