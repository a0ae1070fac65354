// Data sets: formats, damage, registration, subsets, the procedural set.
#include "data_support.h"

#include <zlib.h>

#include <cmath>
#include <cstring>
#include <set>
#include <thread>

#include "data/shapes_draw.h"

using namespace octavo;
using namespace data_test;

namespace {

void write_gzip(const fs::path& path, const Bytes& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  REQUIRE(gzclose(file) == Z_OK);
}

Bytes file_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

/// The training half of MNIST with `count` records of 4 x 3 pixels.
void write_mnist(const fs::path& folder, std::uint32_t count) {
  write_file(folder / "train-images-idx3-ubyte", idx_file({count, 4, 3}, count * 12, 251));
  write_file(folder / "train-labels-idx1-ubyte", idx_file({count}, count, 10));
}

std::vector<std::int64_t> label_counts(const Dataset& data, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(data.info().classes));
  for (std::int64_t i = first; i < first + count; ++i)
    ++counts[static_cast<std::size_t>(read_sample(data, i).label)];
  return counts;
}

}  // namespace

TEST_CASE("cifar10 is read with its planes interleaved, from the folder or its parent") {
  const TemporaryFolder folder;
  write_cifar10(folder / "cifar-10-batches-bin", 3);
  for (const fs::path& path : {folder.path(), folder / "cifar-10-batches-bin"}) {
    const auto data = open_dataset(request_for("cifar10", path));
    CHECK(data->info().samples == 15);
    CHECK(data->info().classes == 10);
    CHECK_FALSE(data->info().procedural);
    CHECK(data->info().field("image").type == TensorType{DType::u8, Shape{32, 32, 3}});
    for (std::int64_t i : {0, 4, 14}) {
      const Sample sample = read_sample(*data, i);
      CHECK(sample.label == i % 10);
      for (std::int64_t y : {0, 31})
        for (std::int64_t x : {0, 17})
          for (std::int64_t c = 0; c < 3; ++c)
            CHECK(sample.image[static_cast<std::size_t>((y * 32 + x) * 3 + c)] ==
                  test_pixel(i, c * 1024 + y * 32 + x));
    }
    CHECK_THROWS_AS(read_sample(*data, 15), Error);
  }
  CHECK(open_dataset(request_for("cifar10", folder.path(), Split::test))->info().samples == 3);
}

TEST_CASE("a relative path is tried in each folder in order") {
  const TemporaryFolder folder;
  write_cifar10(folder / "b/sets", 2);
  DataRequest request = request_for("cifar10", "sets");
  request.folders = {(folder / "a").string(), (folder / "b").string()};
  CHECK(open_dataset(request)->info().samples == 10);
  request.folders = {(folder / "a").string(), (folder / "c").string()};
  const std::string text = opening_error(request);
  CHECK_THAT(text, ContainsSubstring((folder / "a/sets").string()));
  CHECK_THAT(text, ContainsSubstring((folder / "c/sets/cifar-10-batches-bin").string()));
  CHECK_THAT(text, ContainsSubstring("data.set=shapes") && ContainsSubstring("cifar-10-binary.tar.gz"));
}

TEST_CASE("cifar100 takes the fine label") {
  const TemporaryFolder folder;
  write_file(folder / "train.bin", cifar_records(0, 4, 2, 100));
  const auto data = open_dataset(request_for("cifar100", folder.path()));
  CHECK(data->info().samples == 4);
  CHECK(data->info().classes == 100);
  CHECK(read_sample(*data, 2).label == 3);
  CHECK(read_sample(*data, 2).image[0] == test_pixel(2, 0));
  CHECK_THAT(opening_error(request_for("cifar100", folder.path(), Split::test)),
             ContainsSubstring("test.bin"));
}

TEST_CASE("damaged cifar files are named with byte and record") {
  const TemporaryFolder folder;
  write_cifar10(folder.path(), 3);
  const fs::path file = folder / "data_batch_2.bin";
  const Bytes good = file_bytes(file);
  const DataRequest request = request_for("cifar10", folder.path());
  SECTION("cut off") {
    for (std::size_t cut : {1u, 3072u}) {
      write_file(file, Bytes(good.begin(), good.end() - cut));
      CHECK_THAT(opening_error(request),
                 ContainsSubstring(file.string()) && ContainsSubstring("byte 6146: record 2 is cut off"));
    }
  }
  SECTION("bytes too many") {
    Bytes longer = good;
    longer.push_back(0);
    write_file(file, longer);
    CHECK_THAT(opening_error(request), ContainsSubstring("byte 9219: record 3 is cut off"));
  }
  SECTION("empty") {
    write_file(file, {});
    CHECK_THAT(opening_error(request), ContainsSubstring("hold no record"));
  }
  SECTION("label out of range") {
    Bytes bad = good;
    bad[3073] = 10;
    write_file(file, bad);
    CHECK_THAT(opening_error(request), ContainsSubstring("byte 3073: record 1: label 10 is not below 10"));
  }
  SECTION("missing") {
    fs::remove(file);
    CHECK_THAT(opening_error(request), ContainsSubstring("lacks data_batch_2.bin"));
  }
  SECTION("a folder in its place") {
    fs::remove(file);
    fs::create_directory(file);
    CHECK_THAT(opening_error(request), ContainsSubstring("not a regular file"));
  }
}

TEST_CASE("mnist from .gz equals mnist from plain files") {
  const TemporaryFolder plain, packed;
  write_mnist(plain.path(), 25);
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"})
    write_gzip(packed / (std::string(name) + ".gz"), file_bytes(plain / name));
  const auto a = open_dataset(request_for("mnist", plain.path()));
  const auto b = open_dataset(request_for("mnist", packed.path()));
  CHECK(a->info().field("image").type.shape == Shape{4, 3, 1});
  REQUIRE(a->info().samples == 25);
  REQUIRE(b->info().samples == 25);
  for (std::int64_t i = 0; i < 25; ++i) {
    const Sample one = read_sample(*a, i), other = read_sample(*b, i);
    CHECK(one.label == i * 13 % 10);
    CHECK(one.image[5] == (i * 12 + 5) * 13 % 251);
    CHECK(one.image == other.image);
    CHECK(one.label == other.label);
  }
}

TEST_CASE("damaged IDX files are named with byte and record") {
  const TemporaryFolder folder;
  write_mnist(folder.path(), 25);
  const fs::path images = folder / "train-images-idx3-ubyte", labels = folder / "train-labels-idx1-ubyte";
  const Bytes good = file_bytes(images), good_labels = file_bytes(labels);
  const DataRequest request = request_for("mnist", folder.path());
  const auto error_with = [&](const fs::path& file, const Bytes& bytes) {
    write_file(file, bytes);
    return opening_error(request);
  };
  SECTION("magic number") {
    Bytes bad = good;
    bad[2] = 9;
    CHECK_THAT(error_with(images, bad), ContainsSubstring("byte 0: magic number 2307, expected 2051"));
  }
  SECTION("sizes near 2^32 promise more than the file holds") {
    Bytes bad = good;
    for (std::size_t i = 4; i < 8; ++i) bad[i] = 255;
    CHECK_THAT(error_with(images, bad), ContainsSubstring("promises 4294967295 records of 12 bytes"));
    for (std::size_t i = 8; i < 12; ++i) bad[i] = 255;
    CHECK_THAT(error_with(images, bad),
               ContainsSubstring("byte 8: size 4294967295 of axis 1 is out of range"));
  }
  SECTION("zero records") {
    CHECK_THAT(error_with(images, idx_file({0, 4, 3}, 0, 9)), ContainsSubstring("byte 4: size 0"));
  }
  SECTION("every truncation") {
    for (std::size_t size = 0; size < good.size(); ++size)
      CHECK_THAT(error_with(images, Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))),
                 ContainsSubstring(size < 16 ? "ends in its header" : "promises 25 records"));
  }
  SECTION("bytes too many") {
    Bytes longer = good;
    longer.resize(good.size() + 40);
    CHECK_THAT(error_with(images, longer), ContainsSubstring("goes on after record 24 of 25"));
  }
  SECTION("label out of range") {
    Bytes bad = good_labels;
    bad[8 + 17] = 10;
    CHECK_THAT(error_with(labels, bad), ContainsSubstring("byte 25: record 17: label 10 is not below 10"));
  }
  SECTION("images and labels of different sets") {
    CHECK_THAT(error_with(labels, idx_file({24}, 24, 10)), ContainsSubstring("different sets"));
  }
}

TEST_CASE("damaged .gz files and bombs are refused") {
  const TemporaryFolder folder;
  write_mnist(folder.path(), 25);
  const Bytes good = file_bytes(folder / "train-images-idx3-ubyte");
  fs::remove(folder / "train-images-idx3-ubyte");
  const fs::path packed = folder / "train-images-idx3-ubyte.gz";
  const DataRequest request = request_for("mnist", folder.path());
  SECTION("more behind the end than the header says") {
    Bytes bomb = good;
    bomb.resize(64 << 20);
    write_gzip(packed, bomb);
    REQUIRE(fs::file_size(packed) < 100000);
    CHECK_THAT(opening_error(request), ContainsSubstring("goes on after record 24 of 25"));
  }
  SECTION("a header that promises what no such file can hold") {
    write_gzip(packed, idx_file({4000000000u, 16384, 16384}, 100, 9));
    CHECK_THAT(opening_error(request), ContainsSubstring("promises 4000000000 records"));
  }
  SECTION("fewer records than promised") {
    write_gzip(packed, Bytes(good.begin(), good.end() - 30));
    CHECK_THAT(opening_error(request), ContainsSubstring("cut off in record 22 of 25"));
  }
  SECTION("truncated, flipped, or no gzip at all") {
    write_gzip(packed, good);
    const Bytes gzip = file_bytes(packed);
    for (std::size_t cut = 1; cut < gzip.size(); cut += 7) {
      write_file(packed, Bytes(gzip.begin(), gzip.end() - static_cast<std::ptrdiff_t>(cut)));
      CHECK_THAT(opening_error(request), ContainsSubstring(packed.string()));
    }
    Bytes flipped = gzip;
    flipped[flipped.size() - 6] ^= 1;  // of the checksum
    write_file(packed, flipped);
    CHECK_THAT(opening_error(request), ContainsSubstring("damaged"));
    write_file(packed, good);
    CHECK_THAT(opening_error(request), ContainsSubstring("not a gzip file"));
  }
}

TEST_CASE("a set from outside is opened by name, with its fraction taken") {
  struct Squares : Dataset {
    DatasetInfo description;
    const DatasetInfo& info() const override { return description; }
    void read(std::int64_t index, std::span<void* const> out) const override {
      const std::int64_t square = index * index;
      std::memcpy(out[0], &square, sizeof square);
    }
  };
  static bool registered = false;
  const DatasetFactory factory = [](const DataRequest& request) {
    auto data = std::make_shared<Squares>();
    data->description.name = request.set;
    data->description.samples = 1000;
    data->description.fields = {{"square", {DType::i64, Shape{}}}};
    return data;
  };
  if (!registered) register_dataset("squares", factory, "n squared");
  registered = true;
  CHECK_THROWS_WITH(register_dataset("squares", factory, ""), ContainsSubstring("registered already"));
  CHECK_THROWS_WITH(register_dataset("cifar10", factory, ""), ContainsSubstring("registered already"));
  CHECK(list_datasets().back().help == "n squared");

  DataRequest request;
  request.set = "squares";
  const auto chosen = [&](double fraction, std::uint64_t seed) {
    request.fraction = fraction;
    request.seed = seed;
    const auto data = open_dataset(request);
    std::set<std::int64_t> values;
    for (std::int64_t i = 0, value = 0; i < data->info().samples; ++i) {
      void* out[] = {&value};
      data->read(i, out);
      values.insert(value);
    }
    return values;
  };
  CHECK(chosen(1, 1).size() == 1000);
  const auto tenth = chosen(0.1, 1), fifth = chosen(0.2, 1);
  CHECK(tenth.size() == 100);
  CHECK(fifth.size() == 200);
  CHECK(std::includes(fifth.begin(), fifth.end(), tenth.begin(), tenth.end()));
  CHECK(chosen(0.1, 1) == tenth);
  CHECK(chosen(0.1, 2) != tenth);
  CHECK(chosen(1e-9, 1).size() == 1);
  for (double bad : {0.0, -1.0, 1.5, std::nan("")}) {
    request.fraction = bad;
    CHECK_THAT(opening_error(request, Errc::config), ContainsSubstring("data.fraction"));
  }
}

TEST_CASE("unknown names and options are configuration errors") {
  CHECK_THAT(
      opening_error(request_for("cifar", ""), Errc::config),
      ContainsSubstring(
          "unknown data set 'cifar'; known: cifar10, cifar100, mnist, fashion_mnist, image_folder, shapes"));
  DataRequest request = request_for("shapes", "");
  request.options = {{"sise", "32"}};
  CHECK_THAT(opening_error(request, Errc::config),
             ContainsSubstring("data.sise: data set 'shapes' has no option 'sise'; it has size"));
  for (const char* bad : {"7", "513", "32x", "", "1e2", "99999999999999999999"}) {
    request.options = {{"size", bad}};
    CHECK_THAT(opening_error(request, Errc::config), ContainsSubstring("is not an integer in 8 .. 512"));
  }
}

TEST_CASE("shapes are decided by seed, split and index alone") {
  DataRequest request = request_for("shapes", "");
  const auto data = open_dataset(request), again = open_dataset(request);
  CHECK(data->info().procedural);
  CHECK(data->info().samples == 10000);
  request.split = Split::test;
  const auto test = open_dataset(request);
  CHECK(test->info().samples == 2000);
  request.split = Split::train;
  request.seed = 2;
  const auto other = open_dataset(request);
  std::vector<Sample> forward(64);
  for (std::int64_t i = 0; i < 64; ++i) forward[static_cast<std::size_t>(i)] = read_sample(*data, i);
  int differing = 0;
  std::thread elsewhere([&] {
    for (std::int64_t i = 63; i >= 0; --i)
      differing += read_sample(*again, i).image != forward[static_cast<std::size_t>(i)].image;
  });
  elsewhere.join();
  CHECK(differing == 0);
  for (std::int64_t i = 0; i < 64; ++i) {
    const Sample& sample = forward[static_cast<std::size_t>(i)];
    CHECK(sample.label == i % 10);
    CHECK(sample.image != read_sample(*test, i).image);
    CHECK(sample.image != read_sample(*other, i).image);
    CHECK(sample.image != forward[static_cast<std::size_t>((i + 10) % 64)].image);
  }
}

TEST_CASE("shapes differ by kind alone when all else is drawn equal, at every size") {
  for (std::int64_t side : {8, 31, 32, 512}) {
    std::set<Bytes> images;
    for (int kind = 0; kind < shape_kinds; ++kind) {
      Bytes image(static_cast<std::size_t>(side * side * 3 + 1), 77);
      draw_shape(ShapesStyle{}, {1, 2}, kind, side, image.data());
      CHECK(image.back() == 77);
      images.insert(image);
    }
    CHECK(images.size() == shape_kinds);
  }
}

TEST_CASE("shapes of every size are the same bytes on every machine") {
  struct Known {
    std::int64_t side;
    std::uint64_t hash;  // FNV-1a
  };
  for (const Known known : {Known{8, 0x57932bfb7fdad492},
                            {31, 0x7c7e2ff1b8c82e5e},
                            {32, 0x1888fd3dd53ebe97},
                            {224, 0x8938f1d888e62c53},
                            {512, 0xedef32ae63c5129a}}) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (int kind = 0; kind < shape_kinds; ++kind)
      for (std::uint32_t i = 0; i < (known.side > 100 ? 2 : 5); ++i) {
        Bytes image(static_cast<std::size_t>(known.side * known.side * 3));
        draw_shape(ShapesStyle{}, {1 + i, 2 + 7 * i}, kind, known.side, image.data());
        for (std::uint8_t byte : image) hash = (hash ^ byte) * 0x100000001b3;
      }
    CAPTURE(known.side);
    CHECK(hash == known.hash);
  }
}

TEST_CASE("the stated mean and deviation of shapes are those of its images") {
  const auto data = open_dataset(request_for("shapes", ""));
  double sum[3] = {}, square[3] = {};
  constexpr std::int64_t images = 1000;
  for (std::int64_t i = 0; i < images; ++i) {
    const Sample sample = read_sample(*data, i);
    for (std::size_t at = 0; at < sample.image.size(); ++at) {
      const double value = sample.image[at] / 255.0;
      sum[at % 3] += value;
      square[at % 3] += value * value;
    }
  }
  for (std::size_t c = 0; c < 3; ++c) {
    const double mean = sum[c] / (images * 1024);
    CHECK(mean == Approx(data->info().mean[c]).margin(0.015));
    CHECK(std::sqrt(square[c] / (images * 1024) - mean * mean) == Approx(data->info().std[c]).margin(0.01));
  }
}

TEST_CASE("real cifar10 has the labels of its publication") {
  if (!have_real("cifar-10-batches-bin/data_batch_1.bin")) return;
  const auto data = open_dataset(request_for("cifar10", real_data()));
  REQUIRE(data->info().samples == 50000);
  CHECK(label_counts(*data, 0, 10000) ==
        std::vector<std::int64_t>{1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981});
  CHECK(label_counts(*data, 40000, 10000) ==
        std::vector<std::int64_t>{1014, 1014, 952, 1016, 997, 1025, 980, 977, 1003, 1022});
  CHECK(label_counts(*open_dataset(request_for("cifar10", real_data(), Split::test)), 0, 10000) ==
        std::vector<std::int64_t>(10, 1000));
  double sum[3] = {};
  for (std::int64_t i = 0; i < 50000; ++i) {
    const Sample sample = read_sample(*data, i);
    for (std::size_t at = 0; at < sample.image.size(); ++at) sum[at % 3] += sample.image[at];
  }
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(sum[c] / (50000 * 1024 * 255.0) == Approx(data->info().mean[c]).margin(2e-4));
}

TEST_CASE("real cifar10 subset has fewer records per file") {
  if (!have_real("cifar-10-exact-subset-bin/data_batch_1.bin")) return;
  CHECK(open_dataset(request_for("cifar10", real_data() / "cifar-10-exact-subset-bin"))->info().samples ==
        8068);
}

TEST_CASE("real mnist has the labels of its publication, plain and .gz") {
  if (!have_real("mnist/train-images-idx3-ubyte") || !have_real("mnist/t10k-images-idx3-ubyte.gz")) return;
  CHECK(label_counts(*open_dataset(request_for("mnist", real_data())), 0, 60000) ==
        std::vector<std::int64_t>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
  const TemporaryFolder packed;
  for (const char* name : {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"})
    fs::copy_file(real_data() / "mnist" / name, packed / name);
  const auto plain = open_dataset(request_for("mnist", real_data(), Split::test));
  const auto unpacked = open_dataset(request_for("mnist", packed.path(), Split::test));
  CHECK(label_counts(*unpacked, 0, 10000) ==
        std::vector<std::int64_t>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
  for (std::int64_t i = 0; i < 10000; i += 37)
    CHECK(read_sample(*plain, i).image == read_sample(*unpacked, i).image);
}
