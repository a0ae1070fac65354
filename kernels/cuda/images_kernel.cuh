// The kernel of images: four bytes a thread.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "images.h"

namespace octavo::kernels::cuda {

constexpr int image_threads = 256;
constexpr int image_run = 4;

static __global__ void __launch_bounds__(image_threads)
    normalize_images_kernel(const __grid_constant__ NormalizeImages pass) {
  for (std::int64_t first = (blockIdx.x * std::int64_t{image_threads} + threadIdx.x) * image_run;
       first < pass.elements; first += std::int64_t{gridDim.x} * image_threads * image_run) {
    const bool whole = first + image_run <= pass.elements;
    const std::uint32_t bytes = whole ? *reinterpret_cast<const std::uint32_t*>(pass.pixels + first) : 0;
    int channel = static_cast<int>(first % pass.channels);
#pragma unroll
    for (int i = 0; i < image_run; ++i) {
      if (first + i >= pass.elements) break;
      const unsigned pixel = whole ? bytes >> (8 * i) & 0xFF : pass.pixels[first + i];
      pass.out[first + i] = static_cast<float>(pixel) * pass.scale[channel] + pass.shift[channel];
      channel = channel + 1 < pass.channels ? channel + 1 : 0;
    }
  }
}

}  // namespace octavo::kernels::cuda
