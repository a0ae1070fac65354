// Floats of one block to integers, in L1; compiled for each instruction set like chain_tile.h.
#pragma once

#include <cstring>

#include "chain_plan.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

/// 16 random bits for each element of the block; those of element 0 lie at the start of the buffer.
[[gnu::noinline]] void fill_random(const Quantize& q, const ChainTile& tile, std::uint16_t* buffer) {
  const std::uint64_t begin = q.first_index + static_cast<std::uint64_t>(tile.first);
  const std::uint64_t end = begin + static_cast<std::uint64_t>(tile.count);
  std::uint16_t* out = buffer - (begin & 31);
  for (std::uint64_t block = begin >> 5; block << 5 < end; ++block, out += 32)
    Simd::random32(random_block_key(q.key, block), static_cast<std::uint32_t>(block) * 16, out);
}

/// Where the integers of a block go: planes lie `pitch` bytes apart.
struct Digits {
  std::int8_t* out;
  int planes;
  std::int64_t pitch;
  Digits at(std::int64_t i) const { return {out + i, planes, pitch}; }
};

/// Quantizes `count` values, 16 at a time, and asks for those `ahead`; per channel, `inverse` moves along.
template <bool stochastic, bool vector, bool wide>
void quantize_run(typename Simd::Quantizer& quantizer, const float* v, const float* inverse,
                  const std::uint16_t* random, std::int64_t count, std::int64_t ahead, const Digits& digits) {
  const auto block = [&](const float* values, const float* scales, const std::uint16_t* bits,
                         const Digits& to) {
    if constexpr (wide)
      quantizer.template wide_block<stochastic>(values, scales, bits, to.planes, to.pitch, to.out);
    else
      quantizer.template block<stochastic>(values, scales, bits, to.out);
  };
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __builtin_prefetch(v + i + ahead);
    block(v + i, vector ? inverse + i : nullptr, random + i, digits.at(i));
  }
  if (i == count) return;
  alignas(64) float values[16] = {}, scales[16] = {};
  alignas(64) std::uint16_t bits[16] = {};
  alignas(64) std::int8_t integers[16 * most_planes];
  const auto left = static_cast<std::size_t>(count - i);
  std::memcpy(values, v + i, left * sizeof(float));
  if (vector) std::memcpy(scales, inverse + i, left * sizeof(float));
  if (stochastic) std::memcpy(bits, random + i, left * sizeof(std::uint16_t));
  block(values, vector ? scales : nullptr, bits, {integers, digits.planes, 16});
  if (wide) quantizer.leave_out(16 - (count - i));
  for (int plane = 0; plane < (wide ? digits.planes : 1); ++plane)
    std::memcpy(digits.out + plane * digits.pitch + i, integers + plane * 16, left);
}

/// Integers of one plane; clears what vectors read behind them.
void count_integers(const ChainPlan& plan, ChunkCounts& counts, std::int8_t* out, std::int64_t count) {
  std::memset(out + count, 0, chain_slack);
  if (!plan.quantize->squares) return;
  plan.quantize->is_unsigned ? Simd::template sum_squares<true>(out, count, counts)
                             : Simd::template sum_squares<false>(out, count, counts);
}

std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

template <bool stochastic, bool wide>
[[gnu::noinline]] void quantize_values(const ChainPlan& plan, ChunkCounts& counts, const ChainTile& tile,
                                       const float* v, const ChainWork& work, std::int8_t* out) {
  const Quantize& q = *plan.quantize;
  const bool by_channel = q.granularity == Granularity::channel,
             by_sample = q.granularity == Granularity::sample;
  const Digits digits{out, q.planes, plan.integer_pitch};
  if (stochastic) fill_random(q, tile, work.random);
  constexpr std::int64_t most = 1 << 20;  // elements that the counters of a quantizer hold
  const std::int64_t first_channel = by_channel ? tile.first % plan.c : 0;
  typename Simd::Quantizer quantizer(q, by_channel ? 0.0f : q.inverse_scale[by_sample ? tile.sample : 0]);
  for (std::int64_t i = 0, size = 0, counted = 0; i < tile.count; i += size) {
    const std::int64_t phase = by_channel ? (first_channel + i) % plan.period : 0,
                       piece = by_channel ? plan.period - phase : most;
    size = least(tile.count - i, least(piece, most));
    if (by_channel)
      quantize_run<stochastic, true, wide>(quantizer, v + i, plan.inverse_vector() + phase, work.random + i,
                                           size, work.ahead, digits.at(i));
    else
      quantize_run<stochastic, false, wide>(quantizer, v + i, nullptr, work.random + i, size, work.ahead,
                                            digits.at(i));
    counted += size;
    if (wide && counted + plan.period > most) quantizer.flush_squares(counts), counted = 0;
  }
  quantizer.finish(counts);
  if (wide) {
    quantizer.flush_squares(counts);
  } else {
    count_integers(plan, counts, out, tile.count);
  }
}

void quantize_block(const ChainPlan& plan, ChunkCounts& counts, const ChainTile& tile, const float* v,
                    const ChainWork& work, std::int8_t* out) {
  const bool stochastic = plan.quantize->rounding == Rounding::stochastic;
  if (plan.quantize->planes == 1)
    stochastic ? quantize_values<true, false>(plan, counts, tile, v, work, out)
               : quantize_values<false, false>(plan, counts, tile, v, work, out);
  else
    stochastic ? quantize_values<true, true>(plan, counts, tile, v, work, out)
               : quantize_values<false, true>(plan, counts, tile, v, work, out);
}

/// `count` values, a strip at a time.
void quantize_strips(typename Simd::Quantizer& plain, typename Simd::Quantizer& product, const float* v,
                     float factor, const float* plain_inverse, const float* inverse, std::int64_t count,
                     std::int64_t ahead, std::int8_t* plain_out, std::int8_t* product_out) {
  constexpr std::int64_t vector = chain_strip / Simd::width;
  const typename Simd::Integers random[Simd::width] = {};
  for (std::int64_t i = 0; i < count; i += chain_strip) {
    typename Simd::Floats values[Simd::width], products[Simd::width];
    for (int j = 0; j < Simd::width; ++j) {
      if (j * vector % 16 == 0) __builtin_prefetch(v + i + j * vector + ahead);
      values[j] = Simd::load(v + i + j * vector);
      products[j] = values[j] * factor;
    }
    plain.template strip<false>(values, plain_inverse, random, plain_out + i);
    product.template strip<false>(products, inverse + i, random, product_out + i);
  }
}

/// Weights with a scale per filter, and times its factor with one per input channel.
[[gnu::noinline]] void quantize_both(const QuantizeTwice& args, const ChainTile& tile) {
  const ChainPlan &plain = args.plain, &product = args.product;
  const Quantize& q = *plain.quantize;
  alignas(64) float inverse[chain_strip];
  for (float& scale : inverse)
    scale = q.inverse_scale[q.granularity == Granularity::sample ? tile.sample : 0];
  typename Simd::Quantizer first(q, 0), second(*product.quantize, 0);
  const std::int64_t channel = tile.first % product.c;
  for (std::int64_t i = 0, size = 0; i < tile.count; i += size) {
    const std::int64_t phase = (channel + i) % product.period;
    size = least(tile.count - i, product.period - phase);
    quantize_strips(first, second, plain.x.as<float>() + tile.first + i, args.factor, inverse,
                    product.inverse_vector() + phase, size, args.ahead, args.plain_out + i,
                    args.product_out + i);
  }
  first.finish(plain.counts()[args.chunk]);
  second.finish(product.counts()[args.chunk]);
  count_integers(plain, plain.counts()[args.chunk], args.plain_out, tile.count);
  count_integers(product, product.counts()[args.chunk], args.product_out, tile.count);
}

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
