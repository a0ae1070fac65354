// manifest.json of a checkpoint: sizes and checksums of everything else, and of itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace octavo {

struct ManifestFile {
  std::int64_t bytes = 0;
  std::uint32_t crc32c = 0;
  std::map<std::string, std::uint32_t> tensor_crc32c;  ///< empty for files without tensors
};

struct Manifest {
  std::int64_t step = 0;
  std::map<std::string, ManifestFile> files;
};

std::string manifest_text(const Manifest& manifest);

/// Errc::checkpoint, beginning with `where`, unless `text` is exactly what manifest_text() makes.
Manifest parse_manifest(const std::string& text, const std::string& where);

}  // namespace octavo
