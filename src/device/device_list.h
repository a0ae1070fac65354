// A list of passes and its blocks in memory of the device.
#pragma once

#include "cuda/pass_list.h"
#include "device/memory.h"

namespace octavo::device {

template <class Pass>
class DeviceList {
 public:
  DeviceList() = default;
  DeviceList(Memory& memory, const std::string& purpose, std::span<const Pass> passes,
             std::span<const kernels::cuda::ListBlock> blocks) {
    if (passes.empty()) return;
    const auto lay_out = [&](Region& region) {
      list_ = {put(region, passes), put(region, blocks), std::ssize(passes), std::ssize(blocks)};
    };
    block_ = block_of(memory, purpose, lay_out);
  }
  bool empty() const { return list_.count == 0; }
  const kernels::cuda::PassList<Pass>& list() const { return list_; }

 private:
  template <class T>
  static T* put(Region& region, std::span<const T> values) {
    T* const to = region.take<T>(std::ssize(values));
    if (to != nullptr)
      check(cudaMemcpy(to, values.data(), values.size_bytes(), cudaMemcpyHostToDevice), "a list of passes");
    return to;
  }
  Block block_;
  kernels::cuda::PassList<Pass> list_;
};

}  // namespace octavo::device
