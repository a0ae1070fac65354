// Quantize passes: one read of the floats, one write of every copy.
#include "quantize.h"

#include <algorithm>

#include "launch.h"
#include "quantize_checks.h"
#include "quantize_kernels.cuh"
#include "sample_order_kernel.cuh"

namespace octavo::kernels::cuda {
QuantizeStats QuantizeCounts::stats() const {
  return {.max_bits = max_bits,
          .saturated = static_cast<std::int64_t>(saturated),
          .sum_square = Int128{square_low} + (Int128{square_high} << 32)};
}

void quantize_image(const QuantizeImage& pass, cudaStream_t stream) {
  const std::string what = describe_pass("quantize_image", pass.layout);
  check_pass(pass, what);
  with_type(pass.x.type, [&](auto tag) {
    using T = decltype(tag);
    if (pass.batch_copy != nullptr)
      launch(quantize_both_kernel<T>,
             {static_cast<unsigned>(quantize_blocks(pass.layout)), quantize_threads, stream}, what, pass);
    else
      launch(quantize_pixels_kernel<T>,
             {blocks_for(pass.layout.pixel_copy_bytes() / segment_bytes, quantize_threads), quantize_threads,
              stream},
             what, pass);
  });
}

void turn_image(const TurnImage& pass, cudaStream_t stream) {
  const std::string what = describe_pass("turn_image", pass.layout);
  check_pass(pass, what);
  launch(turn_image_kernel, {static_cast<unsigned>(quantize_blocks(pass.layout)), quantize_threads, stream},
         what, pass);
}

void order_samples(const OrderSamples& pass, cudaStream_t stream) {
  const std::string what = "cuda/order_samples of " + std::to_string(pass.samples) + ": ";
  check_order(pass, what);
  launch(order_samples_kernel, {1, order_threads, stream}, what, pass);
}

void largest_magnitudes(const ImageLayout& layout, const FloatSource& x, Granularity granularity,
                        std::uint32_t* max_bits, cudaStream_t stream) {
  const std::string what = describe_pass("largest_magnitudes", layout);
  check_maxima(layout, x, granularity, max_bits, what);
  const std::int64_t pixels = std::int64_t{layout.n} * layout.h * layout.w;
  const std::int64_t pieces = granularity == Granularity::sample ? layout.n : 1;
  with_type(x.type, [&](auto tag) {
    using T = decltype(tag);
    if (granularity == Granularity::channel) {
      const dim3 grid(blocks_for(layout.c, quantize_threads),
                      static_cast<unsigned>(std::min<std::int64_t>(pixels, 1024)));
      launch(max_channels_kernel<T>, {grid, quantize_threads, stream}, what, x.as<T>(), pixels, layout.c,
             max_bits);
    } else {
      const std::int64_t length = pixels * layout.c / pieces;
      const dim3 grid(std::min(blocks_for(length, quantize_threads), 1024u), static_cast<unsigned>(pieces));
      launch(max_pieces_kernel<T>, {grid, quantize_threads, stream}, what, x.as<T>(), length, max_bits);
    }
  });
}

}  // namespace octavo::kernels::cuda
