// Finding, pointing to and pruning checkpoint folders.
#include "train/checkpoint_folders.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <random>
#include <set>

#include "core/check.h"
#include "core/log.h"
#include "train/checkpoint.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// Under a temporary name first, so that an interrupted removal never leaves half a checkpoint under its
/// name.
void remove_checkpoint(const fs::path& folder, FileCalls& files) {
  const fs::path doomed = folder.parent_path() / temporary_name("prune");
  if (files.rename(folder.c_str(), doomed.c_str()) != 0 || !remove_flat_folder(files, doomed)) {
    logger(LogArea::train).warn("cannot remove the old checkpoint {}", folder.string());
  }
}

}  // namespace

std::string step_name(std::int64_t step) { return "step-" + std::to_string(step); }

std::optional<std::int64_t> parse_step_name(std::string_view name) {
  std::int64_t step = 0;
  if (!name.starts_with("step-")) return std::nullopt;
  std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (step < 0 || step_name(step) != name) return std::nullopt;
  return step;
}

std::string temporary_name(std::string_view label) {
  return concat(".tmp-", label, "-", ::getpid(), "-", std::random_device()());
}

std::optional<std::int64_t> read_pointer(const fs::path& checkpoints, const std::string& pointer,
                                         FileCalls& files) {
  const fs::path path = checkpoints / pointer;
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return std::nullopt;
  const std::string text = FileReader(files, path).text(64);
  const auto step = text.ends_with('\n') ? parse_step_name(std::string_view(text).substr(0, text.size() - 1))
                                         : std::nullopt;
  require(step.has_value(), Errc::checkpoint, path.string(),
          ": damaged, it should hold one line such as step-100; "
          "name the checkpoint folder instead");
  return step;
}

void prune_checkpoints(const fs::path& checkpoints, std::int64_t newest, int keep_last, FileCalls& files) {
  if (keep_last <= 0) return;
  std::set<std::int64_t> kept = {newest};
  try {
    for (const char* pointer : {"last", "best"}) {
      if (const auto step = read_pointer(checkpoints, pointer, files)) kept.insert(*step);
    }
  } catch (const Error& error) {
    logger(LogArea::train).warn("old checkpoints are kept: {}", error.what());
    return;
  }
  auto steps = checkpoint_steps(checkpoints.parent_path());
  std::reverse(steps.begin(), steps.end());
  int left = keep_last - 1;  // the newest is one of them
  for (const std::int64_t step : steps) {
    if (step == newest) continue;
    if (left-- > 0 || kept.contains(step)) continue;
    remove_checkpoint(checkpoints / step_name(step), files);
  }
}

void remove_temporaries(const fs::path& folder, FileCalls& files) {
  for (const fs::path& entry : entries_of(folder)) {
    if (!entry.filename().string().starts_with(".tmp-")) continue;
    const bool removed = fs::is_directory(fs::symlink_status(entry)) ? remove_flat_folder(files, entry)
                                                                     : files.unlink(entry.c_str()) == 0;
    if (!removed)
      logger(LogArea::train).warn("cannot remove {}, left by an interrupted save", entry.string());
  }
}

std::vector<std::int64_t> checkpoint_steps(const fs::path& run) {
  std::vector<std::int64_t> steps;
  for (const fs::path& entry : entries_of(run / "checkpoints")) {
    if (const auto step = parse_step_name(entry.filename().string())) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

fs::path find_checkpoint(const fs::path& run, const std::string& which, FileCalls& files) {
  const fs::path checkpoints = run / "checkpoints";
  const auto steps = checkpoint_steps(run);
  std::optional<std::int64_t> step;
  if (which == "last" || which == "best") {
    step = read_pointer(checkpoints, which, files);
    if (!step && which == "last" && !steps.empty()) step = steps.back();
  } else {
    step = parse_step_name(which.starts_with("step-") ? which : "step-" + which);
  }
  if (step && std::binary_search(steps.begin(), steps.end(), *step)) return checkpoints / step_name(*step);
  std::string known;
  for (const std::int64_t s : steps) known += (known.empty() ? "" : ", ") + step_name(s);
  fail(Errc::checkpoint, fs::absolute(checkpoints).string(), ": has no checkpoint '", which, "'",
       step ? concat(" (", step_name(*step), " is missing)") : "", "; there ",
       known.empty() ? concat("are none; begin again with `octavo train ",
                              (fs::absolute(run) / "config.yaml").string(), " --out FOLDER`")
                     : "are " + known);
}

}  // namespace octavo
