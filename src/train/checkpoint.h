// Checkpoints of a run: folder `checkpoints/step-N`, complete or absent, verified when loaded.
//   checkpoints/step-N/{model.safetensors, optim.safetensors, state.json, manifest.json}
//   checkpoints/last, checkpoints/best: text files holding "step-N"
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/named_tensor.h"
#include "train/file_io.h"

namespace octavo {

/// Everything that resuming needs, as plain data.
struct CheckpointContent {
  NamedTensors model;      ///< parameters and persistent state of the ops
  NamedTensors optimizer;  ///< Optimizer::state()
  nlohmann::json state;    ///< step, epoch, cursors, controller, ...; an object of finite numbers
};

struct CheckpointOptions {
  int keep_last = 3;  ///< older ones are removed, never the newest nor the best; 0 keeps all
  bool best = false;  ///< also let `best` point here
};

/// Saves and returns the folder `run/checkpoints/step-N`. Errc::resource when anything cannot be written:
/// then the checkpoints from before are untouched, the temporary folder is gone as far as possible, and
/// training may go on.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, std::int64_t step,
                                      const CheckpointContent& content, const CheckpointOptions& options = {},
                                      FileCalls& files = system_files());

/// Bytes that saving `content` needs, 5% included.
std::int64_t checkpoint_bytes(const CheckpointContent& content);

/// Start of a run: creates `checkpoints`, writes and removes a probe file, and requires free space for one
/// checkpoint of `bytes`; removes what interrupted saves left. The caller holds the run's lock.
/// Errc::resource.
void prepare_checkpoints(const std::filesystem::path& run, std::int64_t bytes,
                         FileCalls& files = system_files());

/// Loads `folder` and verifies every size and checksum. Errc::checkpoint names the file or tensor that is
/// damaged.
CheckpointContent load_checkpoint(const std::filesystem::path& folder, FileCalls& files = system_files());

/// Folder of "last", "best", "12" or "step-12" in `run`; Errc::checkpoint when there is none. Without a
/// `last` file (killed during the first save) "last" is the highest step.
std::filesystem::path find_checkpoint(const std::filesystem::path& run, const std::string& which = "last",
                                      FileCalls& files = system_files());

/// For automatic restarts: the newest checkpoint that loads, and what was wrong with newer ones.
/// Errc::checkpoint when none loads, with all reasons.
struct IntactCheckpoint {
  std::filesystem::path folder;
  CheckpointContent content;
  std::vector<std::string> damaged;  ///< messages, to be shown
};
IntactCheckpoint load_newest_intact(const std::filesystem::path& run, FileCalls& files = system_files());

/// Steps that have a checkpoint folder, ascending.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& run);

}  // namespace octavo
