// What a quantize pass on the device reads, writes and counts. Pointers are of the device.
#pragma once

#include "quantize_segment.h"
#include "sample_order.h"

namespace octavo::kernels::cuda {

/// Counts of a pass in device memory, zeroed by the caller and added to by integer atomics, so that their
/// value does not depend on order. Squares are split into 32-bit halves: any number of elements fits.
struct QuantizeCounts {
  unsigned max_bits = 0, unused = 0;
  unsigned long long saturated = 0, square_low = 0, square_high = 0;
  QuantizeStats stats() const;
};

/// In which order the batch copy has the samples, as order_samples() left it: layout.places says for how many
/// there is room. Null: samples are in their own order.
struct BatchOrder {
  const SampleOrder* order = nullptr;
  const std::int32_t* entries = nullptr;

  OCTAVO_HD constexpr std::int32_t entry(const ImageLayout& layout, int place) const {
    if (entries == nullptr) return place < layout.n ? place : no_sample;
    return place < order->segments * segment_bytes ? entries[place] : no_sample;
  }
  /// Places of the batch copy that are written.
  OCTAVO_HD constexpr int places(const ImageLayout& layout) const {
    return entries == nullptr ? layout.batch_pitch() : order->segments * segment_bytes;
  }
};

/// An image tensor x [n, h, w, c] (of the shape after rows_as_batch) into the copies that are asked for; a
/// copy of several planes has them plane_bytes() of its size apart. Copies are aligned to 16 bytes.
struct QuantizeImage {
  ImageLayout layout;
  FloatSource x;
  QuantizeScales scales;
  QuantizeRule rule;
  std::int8_t* pixel_copy = nullptr;
  std::int8_t* batch_copy = nullptr;
  QuantizeCounts* counts = nullptr;
  const Draws* draws = nullptr;  // in place of the rule's key and first_index
  BatchOrder order = {};
};

/// The batch copy of an image tensor from its pixel copy: for X of a weight gradient with sample classes,
/// whose order is known only when G is.
struct TurnImage {
  ImageLayout layout;
  int planes = 1;
  const std::int8_t* pixel_copy = nullptr;
  std::int8_t* batch_copy = nullptr;
  BatchOrder order = {};
};

}  // namespace octavo::kernels::cuda
