// Sixteen elements of a quantize pass, the share of one thread, with what it counts.
#pragma once

#include "../kernels.h"
#include "draws.h"
#include "layouts.h"
#include "quantize_value.h"

namespace octavo::kernels::cuda {

/// 1, c or n values by granularity.
struct QuantizeScales {
  const float* inverse = nullptr;
  Granularity granularity = Granularity::tensor;
  OCTAVO_HD constexpr float at(int image, int channel) const {
    return inverse[granularity == Granularity::channel  ? channel
                   : granularity == Granularity::sample ? image
                                                        : 0];
  }
};

/// The rule with the random numbers of the step, where there are any.
OCTAVO_HD inline QuantizeRule with_draws(QuantizeRule rule, const Draws* draws) {
  if (draws != nullptr) rule.key = draws->key, rule.first_index = draws->first_index;
  return rule;
}

/// What QuantizeStats counts, of few enough elements that 64 bits hold the squares: 2^17 of the largest.
struct SegmentCounts {
  std::uint32_t max_bits = 0, saturated = 0;
  std::uint64_t sum_square = 0;

  OCTAVO_HD constexpr void add(float v, const QuantizedValue& q) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu;
    const std::uint64_t size =
        static_cast<std::uint64_t>(q.integer < 0 ? -std::int64_t{q.integer} : q.integer);
    max_bits = bits > max_bits ? bits : max_bits;
    saturated += q.saturated ? 1 : 0;
    sum_square += size * size;
  }
  OCTAVO_HD constexpr void merge(const SegmentCounts& other) {
    max_bits = other.max_bits > max_bits ? other.max_bits : max_bits;
    saturated += other.saturated, sum_square += other.sum_square;
  }
};

/// `count` elements, 16 bytes at a time where these are aligned and all there.
template <class T>
OCTAVO_ALWAYS_INLINE OCTAVO_HD void load_run(const T* from, int count, float (&values)[segment_bytes]) {
  constexpr int line = 16 / static_cast<int>(sizeof(T));
  struct alignas(16) Line {
    T value[line];
  };
  if (count == segment_bytes && reinterpret_cast<std::uintptr_t>(from) % 16 == 0) {
    OCTAVO_UNROLL
    for (int i = 0; i < segment_bytes; i += line) {
      const Line loaded = *reinterpret_cast<const Line*>(from + i);
      OCTAVO_UNROLL
      for (int j = 0; j < line; ++j) values[i + j] = to_float(loaded.value[j]);
    }
    return;
  }
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) values[i] = i < count ? to_float(from[i]) : 0.0f;
}

/// The same, stored.
template <class T>
OCTAVO_ALWAYS_INLINE OCTAVO_HD void store_run(T* to, int count, const float (&values)[segment_bytes]) {
  constexpr int line = 16 / static_cast<int>(sizeof(T));
  struct alignas(16) Line {
    T value[line];
  };
  const auto stored = [](float v) {
    if constexpr (sizeof(T) == sizeof(float))
      return v;
    else
      return to_bf16(v);
  };
  if (count == segment_bytes && reinterpret_cast<std::uintptr_t>(to) % 16 == 0) {
    OCTAVO_UNROLL
    for (int i = 0; i < segment_bytes; i += line) {
      Line held;
      OCTAVO_UNROLL
      for (int j = 0; j < line; ++j) held.value[j] = stored(values[i + j]);
      *reinterpret_cast<Line*>(to + i) = held;
    }
    return;
  }
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i)
    if (i < count) to[i] = stored(values[i]);
}

/// 16 places of a pixel, the share of a thread: `count` channels, the rest padding.
struct Segment {
  int image = 0, channel = 0, count = 0;
  std::int64_t first = 0;  // the element of `channel`
};
/// Places slot .. slot + 15; images beyond the last and places beyond the last channel have no elements.
OCTAVO_HD constexpr Segment segment_at(const ImageLayout& layout, int image, int pixel, int slot) {
  if (image >= layout.n || slot >= layout.pixel_pitch()) return {};
  const ImageLayout::Run run = layout.channels_at(slot);
  return {image, run.channel, run.count, layout.element(image, pixel, run.channel)};
}

/// The integers of a segment; padding gives 0 and counts nothing.
OCTAVO_ALWAYS_INLINE OCTAVO_HD void quantize_values(const QuantizeRule& rule, const QuantizeScales& scales,
                                                    const Segment& at, const float (&values)[segment_bytes],
                                                    std::int32_t (&out)[segment_bytes],
                                                    SegmentCounts& counts) {
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) {
    out[i] = 0;
    if (i >= at.count) continue;
    const QuantizedValue q = quantize_value(rule, values[i], scales.at(at.image, at.channel + i),
                                            static_cast<std::uint64_t>(at.first + i));
    counts.add(values[i], q);
    out[i] = q.integer;
  }
}

/// The same of places slot .. slot + 15 of x.
template <class T>
OCTAVO_HD inline void quantize_segment(const ImageLayout& layout, const QuantizeRule& rule,
                                       const QuantizeScales& scales, const T* x, int image, int pixel,
                                       int slot, std::int32_t (&out)[segment_bytes], SegmentCounts& counts) {
  const Segment at = segment_at(layout, image, pixel, slot);
  float values[segment_bytes];
  load_run(x + at.first, at.count, values);
  quantize_values(rule, scales, at, values, out, counts);
}

/// Byte j of the four digits of plane `plane`, packed as a register.
OCTAVO_HD constexpr std::uint32_t pack_digits(const std::int32_t* integers, int plane) {
  std::uint32_t packed = 0;
  for (int j = 0; j < 4; ++j)
    packed |= std::uint32_t{static_cast<std::uint8_t>(digit_of(integers[j], plane))} << (8 * j);
  return packed;
}

}  // namespace octavo::kernels::cuda
