#include "device/memory.h"

#include <algorithm>
#include <map>

#include "core/check.h"
#include "core/memory.h"
#include "cuda/check.h"

namespace octavo::device {

void check(cudaError_t error, const std::string& what) {
  try {
    kernels::cuda::check(error, what);
  } catch (const std::exception& failure) {
    throw Error(Errc::resource, failure.what());
  }
}

void* Memory::take(const std::string& purpose, std::int64_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    fail(Errc::resource, "the device has no ", bytes_text(bytes), " for ", purpose, "; octavo holds\n",
         table(), "lower data.batch, or name blocks in train.recompute");
  }
  check(error, "memory for " + purpose);
  held_.push_back({purpose, bytes, data});
  bytes_ += bytes;
  peak_ = std::max(peak_, bytes_);
  return data;
}

void Memory::give_back(const void* data) {
  const auto at =
      std::find_if(held_.begin(), held_.end(), [=](const Held& held) { return held.data == data; });
  bytes_ -= at->bytes;
  held_.erase(at);
  static_cast<void>(cudaFree(const_cast<void*>(data)));
}

std::string Memory::table() const {
  std::map<std::string, std::int64_t> sums;
  for (const Held& held : held_) sums[held.purpose] += held.bytes;
  std::vector<std::pair<std::string, std::int64_t>> lines(sums.begin(), sums.end());
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [purpose, bytes] : lines) text += concat("  ", purpose, ": ", bytes_text(bytes), "\n");
  return text;
}

PinnedBlock::PinnedBlock(std::int64_t bytes) {
  check(cudaMallocHost(&data_, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1))),
        "pinned memory of " + bytes_text(bytes));
}

PinnedBlock::~PinnedBlock() {
  if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
}

void* Scratch::take_bytes(std::int64_t bytes) {
  constexpr std::int64_t alignment = 256, least = std::int64_t{1} << 20;
  const std::int64_t size = (std::max<std::int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  while (block_ < blocks_.size() && used_ + size > blocks_[block_].bytes()) ++block_, used_ = 0;
  if (block_ == blocks_.size()) blocks_.emplace_back(memory_, "workspace of a node", std::max(size, least));
  std::byte* const start = blocks_[block_].data() + used_;
  used_ += size;
  return start;
}

}  // namespace octavo::device
