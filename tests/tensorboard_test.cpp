// TensorBoard event files, decoded here by the published formats: TFRecord framing and protocol buffers.
#include "train/tensorboard.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <map>

#include "core/log.h"
#include "octavo/error.h"
#include "support/catch.h"
#include "support/failing_files.h"
#include "support/temporary_folder.h"

using namespace octavo;
using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

// Bit by bit, from the polynomial.
std::uint32_t masked_crc(const std::string& data) {
  std::uint32_t crc = ~0u;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

template <class Number>
Number read_number(const std::string& data, std::size_t at) {
  REQUIRE(at + sizeof(Number) <= data.size());
  Number value;
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < file.size();) {
    const auto length = read_number<std::uint64_t>(file, at);
    CHECK(read_number<std::uint32_t>(file, at + 8) == masked_crc(file.substr(at, 8)));
    REQUIRE(at + 16 + length <= file.size());
    result.push_back(file.substr(at + 12, length));
    CHECK(read_number<std::uint32_t>(file, at + 12 + length) == masked_crc(result.back()));
    at += 16 + length;
  }
  return result;
}

/// Fields of a message: numbers as their 64 bits, the rest as bytes.
struct Message {
  std::multimap<int, std::uint64_t> numbers;
  std::multimap<int, std::string> texts;

  explicit Message(const std::string& data) {
    for (std::size_t at = 0; at < data.size();) {
      const std::uint64_t key = varint(data, at);
      const int field = static_cast<int>(key >> 3);
      switch (key & 7) {
        case 0:
          numbers.emplace(field, varint(data, at));
          break;
        case 1:
          numbers.emplace(field, read_number<std::uint64_t>(data, at));
          at += 8;
          break;
        case 2: {
          const std::uint64_t length = varint(data, at);
          REQUIRE(at + length <= data.size());
          texts.emplace(field, data.substr(at, length));
          at += length;
          break;
        }
        case 5:
          numbers.emplace(field, read_number<std::uint32_t>(data, at));
          at += 4;
          break;
        default:
          FAIL("wire type " << (key & 7));
      }
    }
  }

  static std::uint64_t varint(const std::string& data, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = read_number<std::uint8_t>(data, at++);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  }

  std::uint64_t number(int field) const {
    REQUIRE(numbers.count(field) == 1);
    return numbers.find(field)->second;
  }
  double real(int field) const { return std::bit_cast<double>(number(field)); }
  const std::string& text(int field) const {
    REQUIRE(texts.count(field) == 1);
    return texts.find(field)->second;
  }
  std::vector<double> reals(int field) const {
    std::vector<double> values;
    for (std::size_t at = 0; at < text(field).size(); at += 8)
      values.push_back(read_number<double>(text(field), at));
    return values;
  }
};

struct Event {
  std::int64_t step = 0;
  std::map<std::string, float> scalars;
  std::map<std::string, Message> histograms;
};

// Numbers of event.proto and summary.proto.
Event read_event(const std::string& record) {
  const Message event(record);
  CHECK(event.real(1) > 1.6e9);
  Event result;
  result.step = static_cast<std::int64_t>(event.number(2));
  const Message summary(event.text(5));
  for (auto [from, to] = summary.texts.equal_range(1); from != to; ++from) {
    const Message value(from->second);
    if (value.numbers.count(2) > 0)
      result.scalars[value.text(1)] = std::bit_cast<float>(static_cast<std::uint32_t>(value.number(2)));
    else
      result.histograms.emplace(value.text(1), Message(value.text(5)));
  }
  return result;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("records are framed by length and checksums") {
  // CRC32C of "123456789" is 0xE3069283 (RFC 3720); of no bytes it is 0.
  CHECK(masked_crc("123456789") == ((0xE3069283u >> 15) | (0xE3069283u << 17)) + 0xA282EAD8u);
  for (const std::string& data : {std::string(), std::string("a"), std::string(100000, '\xff')}) {
    const std::string record = tensorboard_record(data);
    CHECK(record.size() == data.size() + 16);
    CHECK((records(record + record) == std::vector<std::string>{data, data}));
  }
}

TEST_CASE("metrics become scalars of their step") {
  TemporaryFolder base;
  {
    Tensorboard board(base / "tb", -1);
    board.add_metrics(
        {{"phase", "train"}, {"step", 300}, {"loss", 2.5}, {"lr", 0.1}, {"samples_per_second", 640}});
    board.add_metrics({{"phase", "eval"}, {"step", 300}, {"loss", std::nan("")}, {"accuracy", 0.625}});
  }
  const auto files = files_in(base / "tb");
  REQUIRE(files.size() == 1);
  CHECK(files[0].filename().string().rfind("events.out.tfevents.", 0) == 0);
  const auto found = records(read_text(files[0]));
  REQUIRE(found.size() == 3);
  CHECK(Message(found[0]).text(3) == "brain.Event:2");
  const Event train = read_event(found[1]), eval = read_event(found[2]);
  CHECK(train.step == 300);
  CHECK(train.scalars == std::map<std::string, float>{
                             {"train/loss", 2.5f}, {"train/lr", 0.1f}, {"train/samples_per_second", 640}});
  CHECK(eval.scalars == std::map<std::string, float>{{"eval/accuracy", 0.625f}});
}

TEST_CASE("precision events become scalars and histograms of their slot") {
  TemporaryFolder base;
  {
    Tensorboard board(base / "tb", -1);
    board.add_precision({{"step", 0}, {"plan", nlohmann::json::array()}});  // no slot: nothing
    board.add_precision({{"step", 100},
                         {"slot", "conv:grad gradient s8"},
                         {"bits", 8},
                         {"max_abs", 0.5},
                         {"clip", 0.25},
                         {"cosine_distance", nullptr},
                         {"learning_rate_factor", 0.75},
                         {"next_mode", "held"},
                         {"histogram", {{"first_exponent", -3}, {"counts", {0, 6, 2, 0}}, {"zeros", 8}}}});
    board.add_precision({{"step", 200},
                         {"slot", "a"},
                         {"histogram", {{"first_exponent", -3}, {"counts", {0, 0}}, {"zeros", 4}}}});
  }
  const auto found = records(read_text(files_in(base / "tb")[0]));
  REQUIRE(found.size() == 3);
  const Event event = read_event(found[1]);
  CHECK(event.step == 101);  // steps done
  CHECK(event.scalars == std::map<std::string, float>{{"bits/conv:grad_gradient_s8", 8},
                                                      {"max_abs/conv:grad_gradient_s8", 0.5f},
                                                      {"clip/conv:grad_gradient_s8", 0.25f},
                                                      {"learning_rate_factor/conv:grad_gradient_s8", 0.75f},
                                                      {"zero_share/conv:grad_gradient_s8", 0.5f}});
  REQUIRE(event.histograms.size() == 1);
  const Message& histogram = event.histograms.at("log2_magnitude/conv:grad_gradient_s8");
  CHECK(histogram.real(1) == -2);  // min
  CHECK(histogram.real(2) == 0);   // max
  CHECK(histogram.real(3) == 8);   // num
  CHECK(histogram.real(4) == 6 * -1.5 + 2 * -0.5);
  CHECK(histogram.real(5) == 6 * 2.25 + 2 * 0.25);
  CHECK(histogram.reals(6) == std::vector<double>{-2, -1, 0, 1});
  CHECK(histogram.reals(7) == std::vector<double>{0, 6, 2, 0});
  const Event zeros = read_event(found[2]);
  CHECK(zeros.histograms.empty());
  CHECK(zeros.scalars == std::map<std::string, float>{{"zero_share/a", 1}});
}

TEST_CASE("a resumed run writes a file that sorts last and drops later steps of the others") {
  TemporaryFolder base;
  std::vector<std::string> names;
  for (const int resumed_at : {-1, 40, 80}) {
    Tensorboard board(base / "tb", resumed_at);
    board.add_metrics({{"phase", "train"}, {"step", resumed_at + 1}, {"loss", 1}});
    const auto files = files_in(base / "tb");
    REQUIRE(files.size() == names.size() + 1);
    for (std::size_t i = 0; i < names.size(); ++i) CHECK(files[i].string() == names[i]);
    names.push_back(files.back().string());
    const auto found = records(read_text(files.back()));
    if (resumed_at < 0) continue;
    REQUIRE(found.size() == 3);
    const Message start(found[1]);
    CHECK(start.number(2) == static_cast<std::uint64_t>(resumed_at) + 1);
    CHECK(Message(start.text(7)).number(1) == 1);  // SessionLog.START
  }
}

TEST_CASE("a failed write ends the file with one warning, and what was written stays readable") {
  TemporaryFolder base;
  std::vector<std::string> warnings;
  const int sink =
      add_log_sink([&](const LogRecord& record) { warnings.emplace_back(record.text); }, LogLevel::warning);
  FailingFiles files(4, false, ENOSPC);  // open, version, first scalar, then the failure
  {
    Tensorboard board(base / "tb", -1, files);
    for (int step = 1; step <= 5; ++step)
      board.add_metrics({{"phase", "train"}, {"step", step}, {"loss", 1}});
  }
  remove_log_sink(sink);
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], ContainsSubstring("No space left"));
  CHECK(records(read_text(files_in(base / "tb")[0])).size() == 2);

  write_text(base / "file", "");
  CHECK_THROWS_AS(Tensorboard(base / "file", -1), Error);
}
