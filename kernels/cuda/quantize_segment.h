// Sixteen elements of a quantize pass, the share of one thread, with what it counts.
#pragma once

#include "../kernels.h"
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

/// What QuantizeStats counts, of few enough elements that 64 bits hold the squares: 2^17 of the largest.
struct SegmentCounts {
  std::uint32_t max_bits = 0, saturated = 0;
  std::uint64_t sum_abs = 0, sum_square = 0;

  OCTAVO_HD constexpr void add(float v, const QuantizedValue& q) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu;
    const std::uint64_t size =
        static_cast<std::uint64_t>(q.integer < 0 ? -std::int64_t{q.integer} : q.integer);
    max_bits = bits > max_bits ? bits : max_bits;
    saturated += q.saturated ? 1 : 0;
    sum_abs += size, sum_square += size * size;
  }
  OCTAVO_HD constexpr void merge(const SegmentCounts& other) {
    max_bits = other.max_bits > max_bits ? other.max_bits : max_bits;
    saturated += other.saturated, sum_abs += other.sum_abs, sum_square += other.sum_square;
  }
};

/// `count` elements, 16 bytes at a time where these are aligned and all there.
template <class T>
OCTAVO_HD inline void load_run(const T* from, int count, float (&values)[segment_bytes]) {
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

/// Places slot .. slot + 15 of a pixel of an image; padding, images beyond the last and places beyond the
/// last channel give 0 and count nothing.
template <class T>
OCTAVO_HD inline void quantize_segment(const ImageLayout& layout, const QuantizeRule& rule,
                                       const QuantizeScales& scales, const T* x, int image, int pixel,
                                       int slot, std::int32_t (&out)[segment_bytes], SegmentCounts& counts) {
  const ImageLayout::Run run = layout.channels_at(slot);
  const int count = image < layout.n && slot < layout.pixel_pitch() ? run.count : 0;
  const std::int64_t first = count > 0 ? layout.element(image, pixel, run.channel) : 0;
  float values[segment_bytes];
  load_run(x + first, count, values);
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) {
    out[i] = 0;
    if (i >= count) continue;
    const QuantizedValue q = quantize_value(rule, values[i], scales.at(image, run.channel + i),
                                            static_cast<std::uint64_t>(first + i));
    counts.add(values[i], q);
    out[i] = q.integer;
  }
}

/// Byte j of the four digits of plane `plane`, packed as a register.
OCTAVO_HD constexpr std::uint32_t pack_digits(const std::int32_t* integers, int plane) {
  std::uint32_t packed = 0;
  for (int j = 0; j < 4; ++j)
    packed |= std::uint32_t{static_cast<std::uint8_t>(digit_of(integers[j], plane))} << (8 * j);
  return packed;
}

}  // namespace octavo::kernels::cuda
