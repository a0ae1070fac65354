// From an integer sum to what a product stores: float(sum) * (a_scale * b_scale) [+ bias] [+ out], each step
// rounded by itself. The device library is compiled without contraction for this.
#pragma once

#include "../floats.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

/// Where results go; pointers of the device. With `integers` the sums go there and nothing else is used.
struct Epilogue {
  std::int64_t* integers = nullptr;
  void* out = nullptr;
  FloatType type = FloatType::f32;
  const float* a_scale = nullptr;
  const float* b_scale = nullptr;
  bool a_scale_vector = false, b_scale_vector = false;
  const float* bias = nullptr;  // per filter
  bool accumulate = false;
};

/// The sum of result `element`, of scales a and b, filter b.
template <class Int>
OCTAVO_HD constexpr void store_result(const Epilogue& e, std::int64_t element, int a, int b, Int sum) {
  if (e.integers != nullptr) {
    e.integers[element] = sum;
    return;
  }
  const float scale = e.a_scale[e.a_scale_vector ? a : 0] * e.b_scale[e.b_scale_vector ? b : 0];
  float value = static_cast<float>(sum) * scale;
  if (e.bias != nullptr) value = value + e.bias[b];
  if (e.type == FloatType::f32) {
    auto* out = static_cast<float*>(e.out) + element;
    *out = e.accumulate ? value + *out : value;
  } else {
    auto* out = static_cast<Bf16*>(e.out) + element;
    *out = to_bf16(e.accumulate ? value + to_float(*out) : value);
  }
}

}  // namespace octavo::kernels::cuda
