// Memory of a device for its tests.
#pragma once

#include "cuda/check.h"
#include "cuda/conv_s8.h"
#include "support/cuda_operands.h"

// On the host, where OCTAVO_ARCH says which architecture is played and threads take turns, large tests wait
// until they are asked for: test_cuda_host "[large]".
#if OCTAVO_ARCH > 0
#define OCTAVO_LARGE "[.large]"
#else
#define OCTAVO_LARGE "[large]"
#endif

namespace octavo::kernels::test {

#if OCTAVO_ARCH > 0
inline constexpr bool on_host = true;
#else
inline constexpr bool on_host = false;
#endif

/// Those that this device runs.
inline std::vector<cu::Family> families() {
  std::vector<cu::Family> those(cu::all_families.begin(), cu::all_families.end());
  std::erase_if(those, [](cu::Family family) { return !cu::refuse_family(family).empty(); });
  return those;
}
/// Those with every tile.
inline std::vector<cu::Family> matrix_families() {
  std::vector<cu::Family> those = families();
  std::erase(those, cu::Family::dp4a);
  return those;
}

/// Memory of the device with the bytes of a vector, or of poison.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    const std::size_t size = std::max<std::size_t>(bytes(), 1);  // no more, so that memcheck sees over-runs
    cu::check(cudaMalloc(&data_, size), "test: cudaMalloc");
    cu::check(cudaMemset(data_, 0x5b, size), "test: cudaMemset");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cu::check(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice), "test: upload");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    cu::check(cudaMemcpy(out.data(), data_, bytes(), cudaMemcpyDeviceToHost), "test: download");
    return out;
  }

 private:
  std::size_t bytes() const { return count_ * sizeof(T); }
  std::size_t count_;
  void* data_ = nullptr;
};

/// Runs run(args) with the case's operands on the device, and returns the stored bytes.
template <class Run>
std::vector<std::uint8_t> device_floats(const FloatCase& drawn, const ConvArgs& operands, FloatType type,
                                        const Run& run) {
  DeviceArray<float> a_scale(drawn.a_scale), b_scale(drawn.b_scale), bias(drawn.bias);
  DeviceArray<std::uint8_t> out(stored_as(drawn.start, type));
  ConvArgs args = drawn.args;
  args.a = operands.a, args.b = operands.b;
  args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
  if (args.bias != nullptr) args.bias = bias.data();
  args.out = FloatTarget(out.data(), type);
  run(args);
  return out.values();
}

}  // namespace octavo::kernels::test
