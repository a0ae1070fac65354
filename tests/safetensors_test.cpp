// The safetensors format: layout of written files, and everything hostile that a reader may be given.
#include "train/safetensors.h"

#include <cstring>
#include <ctime>
#include <random>

#include "support/catch.h"
#include "support/temporary_folder.h"
#include "train/crc32c.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

std::string file_of(const std::string& header, const std::string& data = "", std::int64_t length = -1) {
  const std::uint64_t size = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

/// Error text of reading `bytes` as a file; empty when it reads.
std::string read_error(const TemporaryFolder& folder, const std::string& bytes) {
  write_text(folder / "x.safetensors", bytes);
  try {
    SafetensorsReader(folder / "x.safetensors").read_all();
    return "";
  } catch (const Error& error) {
    CHECK(error.code() == Errc::checkpoint);
    CHECK_THAT(error.what(), ContainsSubstring("x.safetensors"));
    return error.what();
  }
}

}  // namespace

TEST_CASE("CRC32C equals the published vectors and the portable form") {
  // RFC 3720, B.4: 32 bytes of zeros, of ones, ascending; and the usual check string.
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  const std::pair<std::string, std::uint32_t> vectors[] = {{std::string(32, '\0'), 0x8A9136AAu},
                                                           {std::string(32, '\xff'), 0x62A8AB43u},
                                                           {ascending, 0x46DD794Eu},
                                                           {"123456789", 0xE3069283u},
                                                           {"", 0}};
  for (const auto& [text, crc] : vectors) {
    const auto bytes = std::as_bytes(std::span(text));
    CHECK(crc32c(bytes) == crc);
    CHECK(crc32c_portable(bytes) == crc);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      CHECK(crc32c(bytes.subspan(cut), crc32c_portable(bytes.first(cut))) == crc);
    }
  }
  CHECK(crc_text(0x0A9136Fu) == "00a9136f");
}

TEST_CASE("a written file has the published layout") {
  TemporaryFolder folder;
  Tensor f = Tensor::zeros({2}), s = Tensor::zeros({3}, DType::s8);
  f.as<float>()[1] = 1.0f;
  s.as<std::int8_t>()[0] = -1;
  const auto summary = write_safetensors(folder / "a", {{"s", s}, {"f", f}}, {{"k", "v"}});
  const std::string header =
      "{\"__metadata__\":{\"k\":\"v\"},\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
      "\"s\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  CHECK(read_text(folder / "a") == file_of(padded, std::string("\0\0\0\0\0\0\x80\x3f\xff\0\0", 11)));
  CHECK(summary.bytes == static_cast<std::int64_t>(8 + padded.size() + 11));
  const std::string bytes = read_text(folder / "a");
  CHECK(summary.crc32c == crc32c(std::as_bytes(std::span(bytes))));

  const SafetensorsReader reader(folder / "a");
  CHECK(reader.metadata() == StringMap{{"k", "v"}});
  REQUIRE(reader.entries().size() == 2);
  CHECK(reader.read(reader.entries()[1]).as<std::int8_t>()[0] == -1);
}

TEST_CASE("names that cannot be saved are refused") {
  TemporaryFolder folder;
  const Tensor t = Tensor::zeros({1});
  const auto code = [&](const NamedTensors& tensors) {
    try {
      write_safetensors(folder / "never", tensors);
      return Errc::resource;
    } catch (const Error& error) {
      return error.code();
    }
  };
  CHECK(code({{"a", t}, {"a", t}}) == Errc::internal);
  CHECK(code({{"__metadata__", t}}) == Errc::internal);
  CHECK(code({{"\xff", t}}) == Errc::internal);
  CHECK(code({{"none", Tensor()}}) == Errc::internal);
  CHECK(!std::filesystem::exists(folder / "never"));
}

TEST_CASE("hostile files are refused with a reason") {
  TemporaryFolder folder;
  const std::string four(4, 'x'), eight(8, 'x');
  const std::string a = "{\"a\":" + entry("F32", "[1]", "[0,4]") + "}";
  REQUIRE(read_error(folder, file_of(a, four)).empty());
  REQUIRE(read_error(folder, file_of("{}")).empty());
  REQUIRE(read_error(folder, file_of("{\"z\":" + entry("F32", "[0]", "[0,0]") +
                                         ",\"a\":" + entry("F32", "[1]", "[0,4]") +
                                         ",\"y\":" + entry("F32", "[7,0]", "[4,4]") + "}",
                                     four))
              .empty());
  struct Case {
    std::string bytes, reason;
  };
  const std::string deep(100000, '[');
  const Case cases[] = {
      {"", "too few"},
      {"1234567", "too few"},
      {file_of("", "", 0), "does not begin"},
      {file_of(a, four, INT64_MAX), "header length"},
      {file_of(a, four, 1 << 20), "truncated"},
      {file_of(" " + a, four), "does not begin"},
      {file_of("[]"), "does not begin"},
      {file_of("{"), "damaged JSON"},
      {file_of(a + "x", four), "damaged JSON"},
      {file_of("{\"a\":" + deep, ""), "nested deeper"},
      {file_of("{\"\xff\":1}"), "damaged JSON"},
      {file_of("{\"a\":1}"), "needs exactly"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"b\":1}}", four),
       "needs exactly"},
      {file_of("{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"a\":" + entry("F32", "[1]", "[4,8]") + "}",
               eight),
       "twice"},
      {file_of("{\"a\":" + entry("F64", "[1]", "[0,8]") + "}", eight), "'F64' is not supported"},
      {file_of("{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", four), "dtype is no text"},
      {file_of("{\"a\":" + entry("F32", "4", "[0,4]") + "}", four), "shape needs"},
      {file_of("{\"a\":" + entry("F32", "[-1]", "[0,4]") + "}", four), "non-negative"},
      {file_of("{\"a\":" + entry("F32", "[1.0]", "[0,4]") + "}", four), "non-negative"},
      {file_of("{\"a\":" + entry("F32", "[18446744073709551615]", "[0,4]") + "}", four), "63 bits"},
      {file_of("{\"a\":" + entry("F32", "[4194305,4194305,211106198978564]", "[0,4]") + "}", four),
       "63 bits"},
      {file_of("{\"a\":" + entry("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", four),
       "at most 16"},
      {file_of("{\"a\":" + entry("F32", "[2]", "[0,4]") + "}", four), "needs 8 bytes"},
      {file_of("{\"a\":" + entry("F32", "[2]", "[0,8]") + "}", four), "lie outside"},
      {file_of("{\"a\":" + entry("F32", "[1]", "[4,0]") + "}", four), "lie outside"},
      {file_of("{\"a\":" + entry("F32", "[1]", "[0]") + "}", four), "two numbers"},
      {file_of("{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"b\":" + entry("F32", "[1]", "[0,4]") + "}",
               four),
       "overlap"},
      {file_of("{\"a\":" + entry("F32", "[1]", "[4,8]") + "}", eight), "gap"},
      {file_of("{\"z\":" + entry("F32", "[0]", "[2,2]") + ",\"a\":" + entry("F32", "[1]", "[0,4]") + "}",
               four),
       "instead of"},
      {file_of(a, eight), "follow the last tensor"},
      {file_of("{\"__metadata__\":[]}"), "no object"},
      {file_of("{\"__metadata__\":{\"a\":1}}"), "is no text"},
  };
  for (const Case& c : cases) {
    INFO(c.bytes.substr(0, 200));
    CHECK_THAT(read_error(folder, c.bytes), ContainsSubstring(c.reason));
  }
}

TEST_CASE("headers made to burn time are refused quickly") {
#if defined(__SANITIZE_ADDRESS__)
  constexpr double limit = 15;  // the sanitizer makes allocation several times as dear
#else
  constexpr double limit = 1;
#endif
  TemporaryFolder folder;
  std::string many = "{\"a0\":" + entry("F32", "[0]", "[0,0]");
  for (int i = 1; i < 100000; ++i) many += ",\"a" + std::to_string(i) + "\":" + entry("F32", "[0]", "[0,0]");
  std::string sizes = "{\"a\":{\"shape\":[1";
  for (int i = 0; i < 4000000; ++i) sizes += ",1";
  std::string unclosed = "{\"" + std::string(30 << 20, 'a');
  for (const std::string& header : {many + "}", sizes + "]}}", unclosed}) {
    const std::clock_t start = std::clock();  // processor time: other work on the machine does not count
    const std::string error = read_error(folder, file_of(header));
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    CHECK(!error.empty());
    CHECK(error.size() < 1000);
    CHECK(seconds < limit);
  }
}

TEST_CASE("random damage of a file is refused or harmless, never a crash") {
  TemporaryFolder folder;
  write_safetensors(folder / "good",
                    {{"weight", Tensor::zeros({3, 5})}, {"mask", Tensor::zeros({9}, DType::u8)}});
  const std::string good = read_text(folder / "good");
  std::mt19937 random(3);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      // Mostly printable characters inside the header, so that mutants reach deep code.
      bad[8 + random() % (bad.size() - 90)] =
          static_cast<char>(random() % 4 ? "0123456789[]{}\",:-e."[random() % 20] : random());
    }
    refused += !read_error(folder, bad).empty();
  }
  CHECK(refused > 1500);
}
