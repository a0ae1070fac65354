// The safetensors file format: named tensors and string metadata. The reader trusts nothing in the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/named_tensor.h"
#include "train/file_io.h"

namespace octavo {

using StringMap = std::map<std::string, std::string>;

/// Size and checksums of a written file.
struct SafetensorsSummary {
  std::int64_t bytes = 0;
  std::uint32_t crc32c = 0;
  std::map<std::string, std::uint32_t> tensor_crc32c;
};

/// Writes `path`, which must not exist, and syncs it. Tensors are ordered by element size, largest first,
/// then by name, so that every tensor is aligned and the bytes are a function of the content alone.
/// Errc::resource when writing fails, Errc::internal for a duplicate or invalid name.
SafetensorsSummary write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                                     const StringMap& metadata = {}, FileCalls& files = system_files());

/// Bytes that write_safetensors() will write, header estimated from above.
std::int64_t safetensors_bytes(const NamedTensors& tensors);

struct SafetensorsEntry {
  std::string name;
  TensorType type;
  std::int64_t offset = 0;  ///< of the first byte, from the start of the file
};

/// An open file with its checked header. Everything throws Errc::checkpoint, naming file and tensor.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path, FileCalls& files = system_files());

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  ///< in file order
  const StringMap& metadata() const { return metadata_; }
  const FileReader& file() const { return file_; }
  Tensor read(const SafetensorsEntry& entry) const;
  NamedTensors read_all() const;

 private:
  FileReader file_;
  std::vector<SafetensorsEntry> entries_;
  StringMap metadata_;
};

}  // namespace octavo
