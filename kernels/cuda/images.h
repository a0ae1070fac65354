// Images of a batch from bytes to normalized floats on the device. Pointers are of the device. Errors of CUDA
// are thrown as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace octavo::kernels::cuda {

/// out = pixel * scale[channel] + shift[channel], each rounded, as ImagePipeline::normalize() does; the
/// channel innermost.
struct NormalizeImages {
  std::int64_t elements = 0;
  int channels = 1;
  const std::uint8_t* pixels = nullptr;
  const float *scale = nullptr, *shift = nullptr;
  float* out = nullptr;
};
void normalize_images(const NormalizeImages& pass, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
