// From an integer sum to what a product stores: float(sum) * (a_scale * b_scale) [+ bias] [+ out], each step
// rounded by itself; with sample classes float(even) + float(odd) * sqrt2 in place of float(sum). The device
// library is compiled without contraction for this.
#pragma once

#include "../kernels.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

/// Where results go; pointers of the device. With `integers` the sums go there and nothing else is used; odd
/// sums lie `odd_integers` elements behind the even ones.
struct Epilogue {
  std::int64_t* integers = nullptr;
  std::int64_t odd_integers = 0;
  void* out = nullptr;
  FloatType type = FloatType::f32;
  const float* a_scale = nullptr;
  const float* b_scale = nullptr;
  bool a_scale_vector = false, b_scale_vector = false;
  const float* bias = nullptr;  // per filter
  bool accumulate = false;
};

/// value * scale [+ bias], of scales a and b, filter b.
OCTAVO_HD constexpr float scaled_value(const Epilogue& e, int a, int b, float value) {
  const float scale = e.a_scale[e.a_scale_vector ? a : 0] * e.b_scale[e.b_scale_vector ? b : 0];
  value = value * scale;
  if (e.bias != nullptr) value = value + e.bias[b];
  return value;
}
/// As it lies in memory.
OCTAVO_HD constexpr float rounded_value(const Epilogue& e, float value) {
  return e.type == FloatType::f32 ? value : to_float(to_bf16(value));
}

/// Such a value [+ out] into result `element`.
OCTAVO_HD constexpr void store_scaled(const Epilogue& e, std::int64_t element, float value) {
  if (e.type == FloatType::f32) {
    auto* out = static_cast<float*>(e.out) + element;
    *out = e.accumulate ? value + *out : value;
  } else {
    auto* out = static_cast<Bf16*>(e.out) + element;
    *out = to_bf16(e.accumulate ? value + to_float(*out) : value);
  }
}

OCTAVO_HD constexpr void store_value(const Epilogue& e, std::int64_t element, int a, int b, float value) {
  store_scaled(e, element, scaled_value(e, a, b, value));
}

template <class Int>
OCTAVO_HD constexpr void store_result(const Epilogue& e, std::int64_t element, int a, int b, Int sum) {
  if (e.integers != nullptr)
    e.integers[element] = sum;
  else
    store_value(e, element, a, b, static_cast<float>(sum));
}

/// Of sample classes.
OCTAVO_HD constexpr void store_classes(const Epilogue& e, std::int64_t element, int a, int b,
                                       std::int64_t even, std::int64_t odd) {
  if (e.integers != nullptr)
    e.integers[element] = even, e.integers[e.odd_integers + element] = odd;
  else
    store_value(e, element, a, b, static_cast<float>(even) + static_cast<float>(odd) * sqrt2);
}

}  // namespace octavo::kernels::cuda
