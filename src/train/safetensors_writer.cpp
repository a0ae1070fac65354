// Writer of safetensors files.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/check.h"
#include "train/crc32c.h"
#include "train/safetensors.h"
#include "train/safetensors_format.h"

namespace octavo {
namespace {

const char* format_name(DType dtype) {
  for (const SafetensorsDType& known : safetensors_dtypes) {
    if (dtype == known.dtype) return known.name;
  }
  fail(Errc::internal, "element type ", dtype_name(dtype), " has no safetensors name");
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.data()), static_cast<std::size_t>(tensor.bytes())};
}

std::vector<const NamedTensor*> file_order(const NamedTensors& tensors) {
  std::vector<const NamedTensor*> order;
  std::set<std::string_view> names;
  for (const NamedTensor& t : tensors) {
    require(static_cast<bool>(t.tensor), Errc::internal, "tensor '", t.name, "' to be saved is empty");
    require(t.name != "__metadata__", Errc::internal, "a tensor to be saved is called __metadata__");
    require(names.insert(t.name).second, Errc::internal, "two tensors to be saved are called '", t.name, "'");
    order.push_back(&t);
  }
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const auto size_a = dtype_size(a->tensor.dtype()), size_b = dtype_size(b->tensor.dtype());
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });
  return order;
}

std::string header_text(const std::vector<const NamedTensor*>& order, const StringMap& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t offset = 0;
  for (const NamedTensor* t : order) {
    const std::int64_t end = offset + t->tensor.bytes();
    // push_back: operator[] of an ordered object searches all names before.
    header.get_ref<nlohmann::ordered_json::object_t&>().push_back({t->name,
                                                                   {{"dtype", format_name(t->tensor.dtype())},
                                                                    {"shape", t->tensor.shape().sizes()},
                                                                    {"data_offsets", {offset, end}}}});
    offset = end;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // tensor data begins at a multiple of 8
    return text;
  } catch (const nlohmann::json::exception& error) {
    fail(Errc::internal, "a tensor name or metadata to be saved is not UTF-8: ", error.what());
  }
}

}  // namespace

SafetensorsSummary write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                                     const StringMap& metadata, FileCalls& files) {
  const auto order = file_order(tensors);
  const std::string header = header_text(order, metadata);
  const std::uint64_t length = header.size();
  SafetensorsSummary summary;
  FileWriter writer(files, path);
  writer.write(std::as_bytes(std::span(&length, 1)));
  writer.write(header);
  for (const NamedTensor* t : order) {
    const auto data = bytes_of(t->tensor);
    summary.tensor_crc32c[t->name] = crc32c(data);
    writer.write(data);
  }
  writer.finish();
  summary.bytes = writer.size();
  summary.crc32c = writer.crc32c();
  return summary;
}

std::int64_t safetensors_bytes(const NamedTensors& tensors) {
  std::int64_t bytes = 64;
  for (const NamedTensor& t : tensors) {
    bytes +=
        t.tensor.bytes() + static_cast<std::int64_t>(2 * t.name.size()) + 128 + 20 * t.tensor.shape().rank();
  }
  return bytes;
}

}  // namespace octavo
