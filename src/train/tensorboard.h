// Event files that TensorBoard reads: tb/events.out.tfevents.* of a run. Formats: TFRecord framing
// (tensorflow/core/lib/io/record_writer.h), Event and Summary (tensorflow/core/util/event.proto,
// summary.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "train/file_io.h"
#include "train/wire_format.h"

namespace octavo {

/// length (u64), masked CRC32C of the length, data, masked CRC32C of the data.
std::string tensorboard_record(std::string_view data);

/// One event file. The first failed write warns in the train log and ends it: what follows a torn record
/// could not be read. Training goes on.
class Tensorboard {
 public:
  /// Creates `folder` and in it a file whose name sorts behind the files there, since readers go by name.
  /// With `resume_step` >= 0 readers drop what older files hold of steps after it. Errc::resource.
  Tensorboard(const std::filesystem::path& folder, std::int64_t resume_step,
              FileCalls& files = system_files());
  ~Tensorboard();
  Tensorboard(const Tensorboard&) = delete;
  Tensorboard& operator=(const Tensorboard&) = delete;

  /// A line of metrics.jsonl: its numbers as "train/loss", "eval/accuracy", ... at its step.
  void add_metrics(const nlohmann::ordered_json& event);
  /// A line of precision.jsonl about a slot: "clip/<slot>", "bits/<slot>", ... and, where it holds a
  /// histogram, log2 |v| of what is not 0 as "log2_magnitude/<slot>" and the share of zeros. Steps count from
  /// 0 there and are steps done here.
  void add_precision(const nlohmann::ordered_json& event);

 private:
  void write(const WireMessage& event);
  void write_summary(std::int64_t step, const WireMessage& summary);

  FileCalls& files_;
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace octavo
