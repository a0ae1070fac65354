#include "train/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/log.h"
#include "train/crc32c.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view name_prefix = "events.out.tfevents.";

// Field numbers of the messages, as the .proto files give them.
namespace event_field {
constexpr int wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace value_field {
constexpr int summary_value = 1, tag = 1, simple_value = 2, histogram = 5;
}
namespace histogram_field {
constexpr int min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket = 7;
}
constexpr int session_status = 1, session_start = 1;

double wall_time() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

void append_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

// CRCs of data that holds CRCs are weak, hence the rotation and the constant.
std::uint32_t masked_crc(std::string_view data) {
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(data)));
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

// Seconds in the name of an event file; 0 when it is none.
std::int64_t seconds_of(const std::string& name) {
  if (!name.starts_with(name_prefix)) return 0;
  return std::atoll(name.c_str() + name_prefix.size());
}

fs::path next_file(const fs::path& folder) {
  auto seconds = static_cast<std::int64_t>(wall_time());
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    seconds = std::max(seconds, seconds_of(entry.path().filename().string()) + 1);
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') std::strcpy(host.data(), "host");
  return folder / concat(name_prefix, seconds, ".", host.data(), ".", ::getpid(), ".0");
}

void add_scalar(WireMessage& summary, const std::string& tag, double number) {
  WireMessage value;
  value.bytes(value_field::tag, tag).real32(value_field::simple_value, static_cast<float>(number));
  summary.message(value_field::summary_value, value);
}

// Buckets are octaves: bucket_limit is the exponent at an octave's upper end.
WireMessage octave_histogram(int first_exponent, const std::vector<double>& counts) {
  std::vector<double> limits;
  double total = 0, sum = 0, sum_squares = 0;
  int lowest = first_exponent + static_cast<int>(counts.size()), highest = first_exponent;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const int exponent = first_exponent + static_cast<int>(i);
    const double middle = exponent + 0.5;
    limits.push_back(exponent + 1);
    total += counts[i];
    sum += counts[i] * middle;
    sum_squares += counts[i] * middle * middle;
    if (!(counts[i] > 0)) continue;
    lowest = std::min(lowest, exponent);
    highest = std::max(highest, exponent + 1);
  }
  WireMessage message;
  message.real64(histogram_field::min, lowest).real64(histogram_field::max, highest);
  message.real64(histogram_field::num, total).real64(histogram_field::sum, sum);
  message.real64(histogram_field::sum_squares, sum_squares);
  message.packed(histogram_field::bucket_limit, limits).packed(histogram_field::bucket, counts);
  return message;
}

void add_histogram(WireMessage& summary, const std::string& slot, const nlohmann::ordered_json& event) {
  const auto found = event.find("histogram");
  if (found == event.end() || !found->is_object() || !found->contains("counts")) return;
  const auto counts = found->at("counts").get<std::vector<double>>();
  double total = 0;
  for (const double count : counts) total += count;
  const double zeros = found->value("zeros", event.value("zeros", 0.0));
  if (total + zeros > 0) add_scalar(summary, "zero_share/" + slot, zeros / (total + zeros));
  if (!(total > 0)) return;
  WireMessage value;
  value.bytes(value_field::tag, "log2_magnitude/" + slot);
  value.message(value_field::histogram, octave_histogram(found->value("first_exponent", 0), counts));
  summary.message(value_field::summary_value, value);
}

}  // namespace

std::string tensorboard_record(std::string_view data) {
  std::string record;
  append_little_endian(record, data.size(), 8);
  append_little_endian(record, masked_crc(record), 4);
  record += data;
  append_little_endian(record, masked_crc(data), 4);
  return record;
}

Tensorboard::Tensorboard(const fs::path& folder, std::int64_t resume_step, FileCalls& files) : files_(files) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, Errc::resource, folder.string(), ": cannot create the folder: ", error.message());
  path_ = next_file(folder);
  file_ = files_.open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file_ < 0) fail_errno(Errc::resource, "create", path_);
  WireMessage version;
  version.real64(event_field::wall_time, wall_time()).bytes(event_field::file_version, "brain.Event:2");
  write(version);
  if (resume_step < 0) return;
  WireMessage start, event;
  start.integer(session_status, session_start);
  event.real64(event_field::wall_time, wall_time()).integer(event_field::step, resume_step + 1);
  write(event.message(event_field::session_log, start));
}

Tensorboard::~Tensorboard() {
  if (file_ >= 0) files_.close(file_);
}

void Tensorboard::write(const WireMessage& event) {
  if (file_ < 0) return;
  const std::string record = tensorboard_record(event.data());
  if (write_all(files_, file_, std::as_bytes(std::span(record)))) return;
  logger(LogArea::train)
      .warn("cannot write {}: {}; training goes on without it", path_.string(), std::strerror(errno));
  files_.close(std::exchange(file_, -1));
}

void Tensorboard::write_summary(std::int64_t step, const WireMessage& summary) {
  if (summary.data().empty()) return;
  WireMessage event;
  event.real64(event_field::wall_time, wall_time()).integer(event_field::step, step);
  write(event.message(event_field::summary, summary));
}

void Tensorboard::add_metrics(const nlohmann::ordered_json& event) {
  WireMessage summary;
  const std::string phase = event.value("phase", "train") + "/";
  for (const auto& [key, value] : event.items())
    if (key != "step" && value.is_number() && std::isfinite(value.get<double>()))
      add_scalar(summary, phase + key, value.get<double>());
  write_summary(event.value("step", std::int64_t{0}), summary);
}

void Tensorboard::add_precision(const nlohmann::ordered_json& event) {
  if (!event.contains("slot")) return;
  // Spaces separate nothing in a tag, but users type tags into a filter.
  std::string slot = event.at("slot");
  std::replace(slot.begin(), slot.end(), ' ', '_');
  WireMessage summary;
  for (const char* key :
       {"bits", "max_abs", "clip", "saturated_share", "cosine_distance", "learning_rate_factor"}) {
    const auto found = event.find(key);
    if (found != event.end() && found->is_number() && std::isfinite(found->get<double>()))
      add_scalar(summary, std::string(key) + "/" + slot, found->get<double>());
  }
  add_histogram(summary, slot, event);
  write_summary(event.value("step", std::int64_t{0}) + 1, summary);
}

}  // namespace octavo
