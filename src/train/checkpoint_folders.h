// Names inside `checkpoints`, shared by saving, loading and pruning.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "train/file_io.h"

namespace octavo {

std::string step_name(std::int64_t step);                            ///< "step-12"
std::optional<std::int64_t> parse_step_name(std::string_view name);  ///< only the exact form of step_name()

/// A name for a temporary entry that no other process uses: ".tmp-<label>-<pid>-<random>".
std::string temporary_name(std::string_view label);

/// Step that `checkpoints/<pointer>` names, or none without that file; Errc::checkpoint when it is damaged.
std::optional<std::int64_t> read_pointer(const std::filesystem::path& checkpoints, const std::string& pointer,
                                         FileCalls& files);

/// Removes old checkpoints; the `newest` and those of `last` and `best` stay. Failures are logged.
void prune_checkpoints(const std::filesystem::path& checkpoints, std::int64_t newest, int keep_last,
                       FileCalls& files);

/// Removes everything that temporary_name() named.
void remove_temporaries(const std::filesystem::path& folder, FileCalls& files);

}  // namespace octavo
