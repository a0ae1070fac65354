// Floats to bfloat16 and back, around a library's products in bfloat16. Pointers are of the device.
#pragma once

#include "conv_f32.h"

namespace octavo::kernels::cuda {

/// to[i] = from[i] in bfloat16, to nearest, ties to even.
void narrow_floats(const float* from, Bf16* to, std::int64_t count, const std::string& what,
                   cudaStream_t stream);
/// As store_sums_f32(), from sums in bfloat16.
void store_bf16_sums(const Bf16* sums, const ConvF32Args& args, std::int64_t results, std::int64_t channels,
                     const std::string& what, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
