// One axis of pooling, one source for CPU and GPU: which pixels a window holds and which windows a pixel lies
// in.
#pragma once

namespace octavo::kernels {

/// `size` pixels, `outputs` windows of `kernel` pixels.
template <class Int>
struct PoolAxisOf {
  Int size = 1, outputs = 1, kernel = 1, stride = 1, pad = 0;

  struct Range {
    Int begin, end;
  };
  /// The pixels of a window that lie inside the image.
  constexpr Range pixels_of(Int output) const {
    const Int begin = output * stride - pad, end = begin + kernel;
    return {begin < 0 ? 0 : begin, end < size ? end : size};
  }
  /// The windows that hold a pixel.
  constexpr Range windows_of(Int pixel) const {
    const Int last = (pixel + pad) / stride, before = pixel + pad - kernel;
    const Int begin = before < 0 ? 0 : before / stride + 1;
    return {begin, last + 1 < outputs ? last + 1 : outputs};
  }
};

}  // namespace octavo::kernels
