// Quantize passes on the device: floats to the copies that the integer products read. Errors of CUDA are
// thrown as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "order_samples.h"
#include "quantize_passes.h"

namespace octavo::kernels::cuda {

void quantize_image(const QuantizeImage& pass, cudaStream_t stream);
void turn_image(const TurnImage& pass, cudaStream_t stream);
/// Sample classes and their order, for the passes above and the weight gradient, in one block.
void order_samples(const OrderSamples& pass, cudaStream_t stream);

/// Bit patterns of the largest |x| by tensor, channel or sample, merged into max_bits (1, c or n values); a
/// NaN is left aside.
void largest_magnitudes(const ImageLayout& layout, const FloatSource& x, Granularity granularity,
                        std::uint32_t* max_bits, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
