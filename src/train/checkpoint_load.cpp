// Loading: manifest first, then every size and checksum; damage is named by tensor where it can be.
#include <algorithm>

#include "core/check.h"
#include "train/checkpoint.h"
#include "train/checkpoint_folders.h"
#include "train/checkpoint_limits.h"
#include "train/crc32c.h"
#include "train/manifest.h"
#include "train/safetensors.h"
#include "train/strict_json.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

constexpr const char* remedy =
    "; the checkpoint is damaged; `octavo resume RUN --checkpoint auto` takes the newest that is intact";

const ManifestFile& expected_file(const Manifest& manifest, const char* name, const fs::path& folder) {
  const auto found = manifest.files.find(name);
  require(found != manifest.files.end(), Errc::checkpoint, (folder / "manifest.json").string(),
          ": does not list ", name, remedy);
  return found->second;
}

void check_size(const FileReader& file, const ManifestFile& expected) {
  require(file.size() == expected.bytes, Errc::checkpoint, file.path().string(), ": has ", file.size(),
          " bytes, not ", expected.bytes, file.size() < expected.bytes ? " (truncated)" : "", remedy);
}

void check_tensor(const fs::path& path, const NamedTensor& t, const ManifestFile& expected) {
  const auto found = expected.tensor_crc32c.find(t.name);
  require(found != expected.tensor_crc32c.end(), Errc::checkpoint, path.string(), ": tensor '", t.name,
          "' is not in the manifest", remedy);
  const auto crc =
      crc32c({static_cast<const std::byte*>(t.tensor.data()), static_cast<std::size_t>(t.tensor.bytes())});
  require(crc == found->second, Errc::checkpoint, path.string(), ": tensor '", t.name, "' has checksum ",
          crc_text(crc), ", not ", crc_text(found->second), remedy);
}

NamedTensors load_tensors(const fs::path& folder, const char* name, const Manifest& manifest,
                          FileCalls& files) {
  const fs::path path = folder / name;
  const ManifestFile& expected = expected_file(manifest, name, folder);
  check_size(FileReader(files, path), expected);
  const SafetensorsReader reader(path, files);
  NamedTensors tensors;
  for (const SafetensorsEntry& entry : reader.entries()) {
    tensors.push_back({entry.name, reader.read(entry)});
    check_tensor(path, tensors.back(), expected);
  }
  require(tensors.size() == expected.tensor_crc32c.size(), Errc::checkpoint, path.string(), ": holds ",
          tensors.size(), " tensors, not ", expected.tensor_crc32c.size(), remedy);
  // Every tensor is intact, so what differs is the header.
  require(reader.file().crc32c() == expected.crc32c, Errc::checkpoint, path.string(),
          ": the header does not fit its checksum", remedy);
  return tensors;
}

nlohmann::json load_state(const fs::path& folder, const Manifest& manifest, FileCalls& files) {
  const ManifestFile& expected = expected_file(manifest, "state.json", folder);
  const FileReader file(files, folder / "state.json");
  check_size(file, expected);
  const std::string text = file.text(max_state_bytes);
  require(crc32c(std::as_bytes(std::span(text))) == expected.crc32c, Errc::checkpoint, file.path().string(),
          ": does not fit its checksum", remedy);
  return parse_strict_json(text, file.path().string(), max_state_values);
}

}  // namespace

CheckpointContent load_checkpoint(const fs::path& folder, FileCalls& files) {
  const FileReader manifest_file(files, folder / "manifest.json");
  const Manifest manifest = parse_manifest(manifest_file.text(64 << 20), manifest_file.path().string());
  CheckpointContent content;
  content.model = load_tensors(folder, "model.safetensors", manifest, files);
  content.optimizer = load_tensors(folder, "optim.safetensors", manifest, files);
  content.state = load_state(folder, manifest, files);
  return content;
}

IntactCheckpoint load_newest_intact(const fs::path& run, FileCalls& files) {
  auto steps = checkpoint_steps(run);
  std::reverse(steps.begin(), steps.end());
  IntactCheckpoint result;
  for (const std::int64_t step : steps) {
    result.folder = run / "checkpoints" / step_name(step);
    try {
      result.content = load_checkpoint(result.folder, files);
      return result;
    } catch (const Error& error) {
      result.damaged.push_back(error.what());
    }
  }
  std::string reasons;
  for (const std::string& reason : result.damaged) reasons += "\n  " + reason;
  fail(Errc::checkpoint, fs::absolute(run).string(), ": no checkpoint can be loaded", reasons);
}

}  // namespace octavo
