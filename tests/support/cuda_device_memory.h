// Arrays of a device for drawn chains.
#pragma once

#include <memory>

#include "cuda/conv_s8.h"
#include "cuda/pass_list.h"
#include "support/cuda_device.h"

namespace octavo::kernels::test {

/// Arrays that live as long as this.
class DeviceMemory {
 public:
  template <class T>
  T* put(const std::vector<T>& values) {
    auto array = std::make_shared<DeviceArray<T>>(values);
    arrays_.push_back(array);
    return array->data();
  }
  template <class T>
  void set(const T* to, const std::vector<T>& values) {
    cu::check(
        cudaMemcpy(const_cast<T*>(to), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
        "test: upload");
  }
  /// A list of passes, cut into these blocks.
  template <class Pass>
  cu::PassList<Pass> list(const std::vector<Pass>& passes, const std::vector<cu::ListBlock>& blocks) {
    return {put(passes), put(blocks), std::ssize(passes), std::ssize(blocks)};
  }
  template <class T>
  std::vector<T> get(const T* from, std::size_t count) {
    std::vector<T> values(count);
    cu::check(cudaMemcpy(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "test: download");
    return values;
  }

 private:
  std::vector<std::shared_ptr<void>> arrays_;
};

}  // namespace octavo::kernels::test
