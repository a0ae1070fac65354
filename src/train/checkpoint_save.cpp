// Saving: everything goes into a temporary folder, is synced, and appears by one rename.
#include <cerrno>

#include "core/check.h"
#include "train/checkpoint.h"
#include "train/checkpoint_folders.h"
#include "train/checkpoint_limits.h"
#include "train/manifest.h"
#include "train/safetensors.h"
#include "train/strict_json.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

void make_folder(FileCalls& files, const fs::path& folder, bool may_exist) {
  if (files.mkdir(folder.c_str(), 0755) == 0 || (may_exist && errno == EEXIST)) return;
  fail_errno(Errc::resource, "create folder", folder);
}

void require_space(FileCalls& files, const fs::path& folder, std::int64_t bytes) {
  const std::int64_t free = files.free_bytes(folder.c_str());
  require(free < 0 || free >= bytes, Errc::resource, fs::absolute(folder).string(), ": a checkpoint needs ",
          bytes, " bytes, ", free,
          " are free; free some space, keep fewer checkpoints or choose another folder with --out");
}

/// The text of state.json; what would not come back equal (NaN, deep nesting, invalid UTF-8) is refused here.
std::string state_text(const nlohmann::json& state) {
  require(state.is_object(), Errc::internal, "the state to be saved is no JSON object");
  try {
    const std::string text = state.dump(1) + "\n";
    require(static_cast<std::int64_t>(text.size()) <= max_state_bytes &&
                parse_strict_json(text, "state.json", max_state_values) == state,
            Errc::internal,
            "the state to be saved does not survive JSON; it holds NaN or Inf, or is too large");
    return text;
  } catch (const nlohmann::json::exception& error) {
    fail(Errc::internal, "the state to be saved is not valid: ", error.what());
  }
}

ManifestFile save_tensors(const fs::path& path, const NamedTensors& tensors, FileCalls& files) {
  const SafetensorsSummary summary = write_safetensors(path, tensors, {{"format", "octavo"}}, files);
  return {summary.bytes, summary.crc32c, summary.tensor_crc32c};
}

ManifestFile save_text(const fs::path& path, const std::string& text, FileCalls& files) {
  FileWriter writer(files, path);
  writer.write(text);
  writer.finish();
  return {writer.size(), writer.crc32c(), {}};
}

void write_content(const fs::path& folder, std::int64_t step, const CheckpointContent& content,
                   const std::string& state, FileCalls& files) {
  Manifest manifest{step, {}};
  manifest.files["model.safetensors"] = save_tensors(folder / "model.safetensors", content.model, files);
  manifest.files["optim.safetensors"] = save_tensors(folder / "optim.safetensors", content.optimizer, files);
  manifest.files["state.json"] = save_text(folder / "state.json", state, files);
  save_text(folder / "manifest.json", manifest_text(manifest), files);
  sync_folder(files, folder);
}

/// Lets `complete` appear as `target`. A checkpoint already there changes places with it and is removed.
void publish(const fs::path& complete, const fs::path& target, FileCalls& files) {
  if (files.rename(complete.c_str(), target.c_str()) == 0) return sync_folder(files, target.parent_path());
  if (errno != EEXIST && errno != ENOTEMPTY)
    fail_errno(Errc::resource, "rename to " + target.string(), complete);
  if (files.exchange(complete.c_str(), target.c_str()) != 0) fail_errno(Errc::resource, "replace", target);
  sync_folder(files, target.parent_path());
  remove_flat_folder(files, complete);
}

}  // namespace

fs::path save_checkpoint(const fs::path& run, std::int64_t step, const CheckpointContent& content,
                         const CheckpointOptions& options, FileCalls& files) {
  const fs::path checkpoints = run / "checkpoints", target = checkpoints / step_name(step);
  const std::string state = state_text(content.state);
  make_folder(files, checkpoints, true);
  require_space(files, checkpoints, checkpoint_bytes(content));
  const fs::path temporary = checkpoints / temporary_name(std::to_string(step));
  make_folder(files, temporary, false);
  try {
    write_content(temporary, step, content, state, files);
    publish(temporary, target, files);
  } catch (...) {
    remove_flat_folder(files, temporary);
    throw;
  }
  replace_file(files, checkpoints / "last", step_name(step) + "\n");
  if (options.best) replace_file(files, checkpoints / "best", step_name(step) + "\n");
  prune_checkpoints(checkpoints, step, options.keep_last, files);
  return target;
}

std::int64_t checkpoint_bytes(const CheckpointContent& content) {
  const std::int64_t names = 64 * static_cast<std::int64_t>(content.model.size() + content.optimizer.size());
  const auto state = static_cast<std::int64_t>(content.state.dump().size());
  const std::int64_t bytes =
      safetensors_bytes(content.model) + safetensors_bytes(content.optimizer) + 2 * state + names;
  return bytes + bytes / 20 + 4096;
}

void prepare_checkpoints(const fs::path& run, std::int64_t bytes, FileCalls& files) {
  const fs::path checkpoints = run / "checkpoints";
  make_folder(files, checkpoints, true);
  remove_temporaries(checkpoints, files);
  const fs::path probe = checkpoints / temporary_name("probe");
  save_text(probe, "probe\n", files);
  if (files.unlink(probe.c_str()) != 0) fail_errno(Errc::resource, "remove", probe);
  require_space(files, checkpoints, bytes);
}

}  // namespace octavo
