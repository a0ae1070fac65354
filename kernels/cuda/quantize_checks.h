// What a quantize pass is refused for, before its launch. Plain C++: tests use it without CUDA.
#pragma once

#include "pointers.h"
#include "quantize_passes.h"
#include "quantize_tiles.h"

namespace octavo::kernels::cuda {

inline std::string describe_pass(const char* name, const ImageLayout& l) {
  return std::string("cuda/") + name + " of " + std::to_string(l.n) + "x" + std::to_string(l.h) + "x" +
         std::to_string(l.w) + "x" + std::to_string(l.c) + ": ";
}
inline std::string describe_pass(const char* name, const WeightLayout& l) {
  return std::string("cuda/") + name + " of " + std::to_string(l.k) + "x" + std::to_string(l.taps) + "x" +
         std::to_string(l.c) + ", " + std::to_string(l.groups) + " groups: ";
}

inline void check_rule(const QuantizeRule& rule, const std::string& what) {
  const bool is_unsigned = rule.lowest == 0;
  if (rule.planes < 1 || rule.planes > most_planes || (is_unsigned && rule.planes != 1))
    throw std::invalid_argument(what + "1 to 3 planes, one where unsigned");
  if (rule.grid != Grid::every && rule.planes == 1)
    throw std::invalid_argument(what + "odd and flagged integers take several planes");
  const auto most = is_unsigned ? 255.0f : static_cast<float>(largest_integer(rule.planes));
  if (!(rule.qmax >= 1 && rule.qmax <= most) || (!is_unsigned && rule.lowest != -rule.qmax))
    throw std::invalid_argument(what + "qmax is at most " + std::to_string(static_cast<int>(most)) +
                                ", lowest -qmax or 0");
}

/// Indices of pixels and blocks are 32-bit.
inline void check_layout(const ImageLayout& l, const std::string& what) {
  for (int size : {l.n, l.h, l.w, l.c, l.groups})
    if (size < 1) throw std::invalid_argument(what + "sizes start at 1");
  if (l.c % l.groups != 0) throw std::invalid_argument(what + "groups must divide channels");
  if (l.c >= 1 << 26) throw std::invalid_argument(what + "2^26 channels or more");
  if (std::int64_t{l.h} * l.w >= most_blocks)
    throw std::invalid_argument(what + "2^31 pixels or more in an image");
}

inline void check_order(const ImageLayout& l, const BatchOrder& order, const std::string& what) {
  if ((order.order != nullptr) != (l.places > 0) || (order.entries != nullptr) != (l.places > 0))
    throw std::invalid_argument(what + "an order of samples and room for its places go together");
  if (l.places % segment_bytes != 0 || (l.places > 0 && l.places < l.n))
    throw std::invalid_argument(what + "places are whole segments, for all samples");
}

inline void check_pass(const QuantizeImage& pass, const std::string& what) {
  const ImageLayout& l = pass.layout;
  check_layout(l, what);
  check_order(l, pass.order, what);
  check_rule(pass.rule, what);
  if (pass.pixel_copy == nullptr && pass.batch_copy == nullptr)
    throw std::invalid_argument(what + "no copy is asked for");
  if (Int128{l.h} * l.w * quantize_slot_tiles(l) * quantize_image_tiles(l) >= most_blocks)
    throw std::invalid_argument(what + "2^31 tiles or more; use a smaller batch");
  check_pointer(pass.x.data, "x", what, static_cast<std::size_t>(float_bytes(pass.x.type)));
  check_pointer(pass.scales.inverse, "inverse scales", what, alignof(float));
  check_optional_pointer(pass.pixel_copy, "pixel_copy", what, segment_bytes);
  check_optional_pointer(pass.batch_copy, "batch_copy", what, segment_bytes);
  check_optional_pointer(pass.counts, "counts", what, alignof(QuantizeCounts));
  check_optional_pointer(pass.draws, "draws", what, alignof(Draws));
}

inline void check_pass(const TurnImage& pass, const std::string& what) {
  const ImageLayout& l = pass.layout;
  check_layout(l, what);
  check_order(l, pass.order, what);
  if (pass.planes < 1 || pass.planes > most_planes) throw std::invalid_argument(what + "1 to 3 planes");
  if (Int128{quantize_blocks(l)} >= most_blocks)
    throw std::invalid_argument(what + "2^31 tiles or more; use a smaller batch");
  check_pointer(pass.pixel_copy, "pixel_copy", what, segment_bytes);
  check_pointer(pass.batch_copy, "batch_copy", what, segment_bytes);
}

/// Pieces with a maximum of their own lie along y of the grid.
inline void check_maxima(const ImageLayout& l, const FloatSource& x, Granularity granularity,
                         const std::uint32_t* max_bits, const std::string& what) {
  check_layout(l, what);
  if (granularity == Granularity::sample && l.n > most_parts)
    throw std::invalid_argument(what + "at most 65,535 samples have their own maximum");
  check_pointer(x.data, "x", what, static_cast<std::size_t>(float_bytes(x.type)));
  check_pointer(max_bits, "max_bits", what, alignof(std::uint32_t));
}

}  // namespace octavo::kernels::cuda
