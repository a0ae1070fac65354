// Small data files for the tests of the data side, and the real ones where they are.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "octavo/data.h"
#include "support/catch.h"

namespace data_test {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

/// A folder of its own that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::random_device random;
    path_ =
        fs::temp_directory_path() / ("octavo_data_" + std::to_string(random()) + std::to_string(random()));
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline void write_file(const fs::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

/// Pixel `at` (in file order) of record `record`.
inline std::uint8_t test_pixel(std::int64_t record, std::int64_t at) {
  return static_cast<std::uint8_t>(record * 31 + at * 7 + at / 1024);
}

inline Bytes cifar_records(std::int64_t first, std::int64_t count, int label_bytes, int classes) {
  Bytes bytes;
  for (std::int64_t i = first; i < first + count; ++i) {
    for (int b = 0; b < label_bytes; ++b) bytes.push_back(static_cast<std::uint8_t>((i + b) % classes));
    for (std::int64_t at = 0; at < 3072; ++at) bytes.push_back(test_pixel(i, at));
  }
  return bytes;
}

/// Five training files of `per_file` records and a test file.
inline void write_cifar10(const fs::path& folder, std::int64_t per_file) {
  fs::create_directories(folder);
  for (int i = 0; i < 5; ++i)
    write_file(folder / ("data_batch_" + std::to_string(i + 1) + ".bin"),
               cifar_records(i * per_file, per_file, 1, 10));
  write_file(folder / "test_batch.bin", cifar_records(1000, per_file, 1, 10));
}

inline Bytes idx_file(const std::vector<std::uint32_t>& sizes, std::int64_t elements, int modulus) {
  Bytes bytes{0, 0, 8, static_cast<std::uint8_t>(sizes.size())};
  for (std::uint32_t size : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(size >> shift));
  for (std::int64_t i = 0; i < elements; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 13 % modulus));
  return bytes;
}

inline octavo::DataRequest request_for(const std::string& set, const fs::path& path,
                                       octavo::Split split = octavo::Split::train) {
  octavo::DataRequest request;
  request.set = set;
  request.path = path.string();
  request.split = split;
  return request;
}

/// The text and code of the error that opening the set gives.
inline std::string opening_error(const octavo::DataRequest& request, octavo::Errc code = octavo::Errc::data) {
  try {
    octavo::open_dataset(request);
  } catch (const octavo::Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("opening " << request.set << " in " << request.path << " gave no error");
  return {};
}

struct Sample {
  Bytes image;
  std::int64_t label = -1;
};

inline Sample read_sample(const octavo::Dataset& data, std::int64_t index) {
  Sample sample;
  sample.image.resize(static_cast<std::size_t>(data.info().field("image").type.bytes()));
  void* out[] = {sample.image.data(), &sample.label};
  data.read(index, out);
  return sample;
}

/// The folder of the real data: $OCTAVO_DATA or ./data.
inline fs::path real_data() {
  const char* folder = std::getenv("OCTAVO_DATA");
  return folder != nullptr && *folder != 0 ? fs::path(folder) : fs::path("data");
}

/// False, with a warning that shows in the log, where the real files are not at hand.
inline bool have_real(const std::string& file) {
  if (fs::exists(real_data() / file)) return true;
  WARN("skipped: no " << file << " in " << fs::absolute(real_data()).string() << "; set OCTAVO_DATA");
  return false;
}

}  // namespace data_test
