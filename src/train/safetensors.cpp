// Reader of safetensors files: 8 bytes header length, JSON header, tensor bytes.
#include "train/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "core/check.h"
#include "train/safetensors_format.h"
#include "train/strict_json.h"

namespace octavo {

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian and written as it lies in memory");

namespace {

constexpr std::int64_t max_header = 32 << 20;
constexpr std::int64_t max_entries = 1 << 16;

std::optional<DType> dtype_from(const std::string& name) {
  for (const SafetensorsDType& known : safetensors_dtypes) {
    if (name == known.name) return known.dtype;
  }
  return std::nullopt;
}

/// Makes tensor entries of header values; every check names the tensor.
class EntryParser {
 public:
  EntryParser(const std::string& file, std::int64_t data_begin, std::int64_t file_size)
      : file_(file), data_begin_(data_begin), data_size_(file_size - data_begin) {}

  SafetensorsEntry parse(const std::string& name, const nlohmann::json& value) {
    name_ = &name;
    check(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
              value.contains("data_offsets"),
          "needs exactly dtype, shape and data_offsets");
    check(value["dtype"].is_string(), "dtype is no text");
    const std::string dtype_text = value["dtype"];
    const auto dtype = dtype_from(dtype_text);
    check(dtype.has_value(),
          concat("dtype '", dtype_text, "' is not supported (F32, BF16, I8, U8, I32, I64 are)"));
    const nlohmann::json& offsets = value["data_offsets"];
    check(offsets.is_array() && offsets.size() == 2, "data_offsets needs two numbers");
    const std::int64_t begin = number(offsets[0]), end = number(offsets[1]);
    check(begin <= end && end <= data_size_, concat("bytes ", begin, " to ", end, " lie outside the ",
                                                    data_size_, " data bytes; truncated or damaged"));
    const Shape shape = parse_shape(value["shape"]);
    const std::int64_t bytes = checked_bytes(shape, *dtype);
    check(bytes == end - begin,
          concat("shape ", shape.str(), " of ", dtype_text, " needs ", bytes, " bytes, not ", end - begin));
    return {name, {*dtype, shape}, data_begin_ + begin};
  }

 private:
  void check(bool condition, const std::string& text) const {
    require(condition, Errc::checkpoint, file_, ": tensor '", *name_, "': ", text);
  }
  std::int64_t number(const nlohmann::json& value) const {
    check(value.is_number_unsigned(), "expected a non-negative integer");
    const auto number = value.get<std::uint64_t>();
    check(number <= static_cast<std::uint64_t>(INT64_MAX), "number does not fit 63 bits");
    return static_cast<std::int64_t>(number);
  }
  Shape parse_shape(const nlohmann::json& value) const {
    check(value.is_array() && value.size() <= 16, "shape needs a list of at most 16 sizes");
    std::vector<std::int64_t> sizes;
    for (const nlohmann::json& size : value) sizes.push_back(number(size));
    return Shape(std::move(sizes));
  }
  std::int64_t checked_bytes(const Shape& shape, DType dtype) const {
    std::int64_t bytes = dtype_size(dtype);
    for (const std::int64_t size : shape.sizes()) {
      check(!__builtin_mul_overflow(bytes, size, &bytes),
            concat("shape ", shape.str(), " does not fit 63 bits"));
    }
    return bytes;
  }

  const std::string& file_;
  const std::string* name_ = nullptr;
  std::int64_t data_begin_, data_size_;
};

StringMap parse_metadata(const nlohmann::json& value, const std::string& where) {
  require(value.is_object(), Errc::checkpoint, where, ": __metadata__ is no object");
  StringMap metadata;
  for (const auto& [key, text] : value.items()) {
    require(text.is_string(), Errc::checkpoint, where, ": metadata '", key, "' is no text");
    metadata[key] = text;
  }
  return metadata;
}

nlohmann::json read_header(const FileReader& file, std::int64_t& data_begin) {
  const std::string where = file.path().string();
  std::uint64_t length = 0;
  require(file.size() >= 8, Errc::checkpoint, where, ": has ", file.size(),
          " bytes, too few for a safetensors file");
  file.read(0, std::as_writable_bytes(std::span(&length, 1)));
  require(length <= static_cast<std::uint64_t>(max_header), Errc::checkpoint, where, ": header length ",
          length, " is above the limit of ", max_header, "; damaged or no safetensors file");
  data_begin = 8 + static_cast<std::int64_t>(length);
  require(data_begin <= file.size(), Errc::checkpoint, where, ": header needs ", data_begin,
          " bytes, the file has ", file.size(), "; truncated");
  std::string text(length, '\0');
  file.read(8, std::as_writable_bytes(std::span(text)));
  require(!text.empty() && text.front() == '{', Errc::checkpoint, where, ": header does not begin with '{'");
  nlohmann::json header = parse_strict_json(text, where, 12 * max_entries);
  require(static_cast<std::int64_t>(header.size()) <= max_entries, Errc::checkpoint, where, ": ",
          header.size(), " tensors are above the limit of ", max_entries);
  return header;
}

/// The entries, sorted by offset, must cover the data without gap or overlap.
void check_cover(const std::vector<SafetensorsEntry>& entries, std::int64_t offset, const FileReader& file) {
  for (const SafetensorsEntry& entry : entries) {
    require(entry.offset == offset, Errc::checkpoint, file.path().string(), ": tensor '", entry.name,
            "' begins at ", entry.offset, " instead of ", offset,
            entry.offset < offset ? " (overlap)" : " (gap)");
    offset += entry.type.bytes();
  }
  require(offset == file.size(), Errc::checkpoint, file.path().string(), ": ", file.size() - offset,
          " bytes follow the last tensor");
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path, FileCalls& files)
    : file_(files, path) {
  const std::string where = path.string();
  std::int64_t data_begin = 0;
  const nlohmann::json header = read_header(file_, data_begin);
  EntryParser parser(where, data_begin, file_.size());
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(value, where);
    } else {
      entries_.push_back(parser.parse(name, value));
    }
  }
  std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tuple(a.offset, a.type.bytes()) < std::tuple(b.offset, b.type.bytes());
  });
  check_cover(entries_, data_begin, file_);
}

Tensor SafetensorsReader::read(const SafetensorsEntry& entry) const {
  Tensor tensor = Tensor::empty(entry.type.shape, entry.type.dtype);
  file_.read(entry.offset,
             {static_cast<std::byte*>(tensor.data()), static_cast<std::size_t>(tensor.bytes())});
  return tensor;
}

NamedTensors SafetensorsReader::read_all() const {
  NamedTensors tensors;
  for (const SafetensorsEntry& entry : entries_) tensors.push_back({entry.name, read(entry)});
  return tensors;
}

}  // namespace octavo
