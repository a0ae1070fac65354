// Quantize passes: one read of the floats, one write of every copy.
#include "quantize.h"

#include <algorithm>

#include "check.h"
#include "quantize_kernels.cuh"

namespace octavo::kernels::cuda {
namespace {

constexpr unsigned most_blocks = 1u << 16;

unsigned blocks_for(std::int64_t threads) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(threads, quantize_threads), 1, most_blocks));
}

std::string describe(const char* name, const ImageLayout& l) {
  return std::string("cuda/") + name + " of " + std::to_string(l.n) + "x" + std::to_string(l.h) + "x" +
         std::to_string(l.w) + "x" + std::to_string(l.c);
}

void check_rule(const QuantizeRule& rule, const std::string& what) {
  const bool is_unsigned = rule.lowest == 0;
  const auto most = is_unsigned ? 255.0f : static_cast<float>(largest_integer(rule.planes));
  if (rule.planes < 1 || rule.planes > most_planes || (is_unsigned && rule.planes != 1))
    throw std::invalid_argument(what + ": 1 to 3 planes, one where unsigned");
  if (!(rule.qmax >= 1 && rule.qmax <= most) || (!is_unsigned && rule.lowest != -rule.qmax))
    throw std::invalid_argument(what + ": qmax is at most " + std::to_string(static_cast<int>(most)) +
                                ", lowest -qmax or 0");
}

}  // namespace

QuantizeStats QuantizeCounts::stats() const {
  return {.max_bits = max_bits,
          .saturated = static_cast<std::int64_t>(saturated),
          .sum_abs = static_cast<std::int64_t>(sum_abs),
          .sum_square = Int128{square_low} + (Int128{square_high} << 32)};
}

void quantize_image(const QuantizeImage& pass, cudaStream_t stream) {
  const std::string what = describe("quantize_image", pass.layout);
  check_rule(pass.rule, what);
  if (pass.pixel_copy == nullptr && pass.batch_copy == nullptr)
    throw std::invalid_argument(what + ": no copy is asked for");
  with_type(pass.x.type, [&](auto tag) {
    using T = decltype(tag);
    if (pass.batch_copy != nullptr)
      quantize_both_kernel<T>
          <<<static_cast<unsigned>(quantize_blocks(pass.layout)), quantize_threads, 0, stream>>>(pass);
    else
      quantize_pixels_kernel<T>
          <<<blocks_for(pass.layout.pixel_copy_bytes() / segment_bytes), quantize_threads, 0, stream>>>(pass);
  });
  check_launch(what, ": launch");
}

void quantize_weights(const QuantizeWeights& pass, cudaStream_t stream) {
  const WeightLayout& l = pass.layout;
  const std::string what = "cuda/quantize_weights of " + std::to_string(l.k) + "x" + std::to_string(l.taps) +
                           "x" + std::to_string(l.inputs());
  check_rule(pass.rule, what);
  if (pass.kind == WeightCopy::depthwise && l.inputs() != 1)
    throw std::invalid_argument(what + ": a depthwise copy has one input a filter");
  const std::int64_t segments = l.bytes(pass.kind) / segment_bytes;
  quantize_weights_kernel<<<blocks_for(segments), quantize_threads, 0, stream>>>(pass);
  check_launch(what, ": launch");
}

void largest_magnitudes(const ImageLayout& layout, const FloatSource& x, Granularity granularity,
                        std::uint32_t* max_bits, cudaStream_t stream) {
  const std::string what = describe("largest_magnitudes", layout);
  const std::int64_t pixels = std::int64_t{layout.n} * layout.h * layout.w;
  const std::int64_t pieces = granularity == Granularity::sample ? layout.n : 1;
  if (pieces >= most_blocks)
    throw std::invalid_argument(what + ": at most 65,535 samples have their own maximum");
  with_type(x.type, [&](auto tag) {
    using T = decltype(tag);
    if (granularity == Granularity::channel) {
      const dim3 grid(blocks_for(layout.c), static_cast<unsigned>(std::min<std::int64_t>(pixels, 1024)));
      max_channels_kernel<<<grid, quantize_threads, 0, stream>>>(x.as<T>(), pixels, layout.c, max_bits);
    } else {
      const std::int64_t length = pixels * layout.c / pieces;
      const dim3 grid(std::min(blocks_for(length), 1024u), static_cast<unsigned>(pieces));
      max_pieces_kernel<<<grid, quantize_threads, 0, stream>>>(x.as<T>(), length, max_bits);
    }
  });
  check_launch(what, ": launch");
}

}  // namespace octavo::kernels::cuda
