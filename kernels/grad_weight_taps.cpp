#include "grad_weight_taps.h"

namespace octavo::kernels {
namespace {

/// One axis of a tap: pixel v of G reads pixel (v + shift) * stride + phase of X.
struct TapAxis {
  std::int64_t shift, phase, stride, size;
  TapAxis(std::int64_t tap, std::int64_t dilation, std::int64_t pad, std::int64_t step, std::int64_t pixels)
      : stride(step), size(pixels) {
    const std::int64_t at = tap * dilation - pad;
    phase = (at % step + step) % step;
    shift = (at - phase) / step;
  }
  bool inside(std::int64_t v) const {
    const std::int64_t at = (v + shift) * stride + phase;
    return at >= 0 && at < size;
  }
};

}  // namespace

MaskedTaps::MaskedTaps(const ConvShape& shape, const View& x, const View& g) : sample_quads_(g.plane / 4) {
  holes_.begin.push_back(0);
  for (std::int64_t r = 0; r < shape.r; ++r)
    for (std::int64_t s = 0; s < shape.s; ++s) {
      const TapAxis h(r, shape.dilation_h, shape.pad_h, shape.stride_h, shape.h);
      const TapAxis w(s, shape.dilation_w, shape.pad_w, shape.stride_w, shape.w);
      // One row of border above keeps the first quad, of which a part is read, inside the view.
      Reach reach{(h.phase * x.phase_w + w.phase) * x.plane + (h.shift + 1) * x.pitch + w.shift, 0, 0, true};
      std::int64_t last = 0;
      for (std::int64_t quad = 0; quad < sample_quads_; ++quad) {
        std::uint32_t outside = 0, inside = 0;
        for (std::int64_t e = 0; e < 4; ++e) {
          const std::int64_t i = (quad * 4 + e) / g.pitch, j = (quad * 4 + e) % g.pitch;
          if (i >= g.h || j >= g.w) continue;  // G is 0
          (h.inside(i) && w.inside(j) ? inside : outside) |= 0xffU << 8 * e;
        }
        masks_.push_back(~outside);
        if (outside != 0) holes_.list.push_back({quad, outside});
        if (inside == 0) continue;
        if (last == 0) reach.first = quad;
        last = quad + 1;
        reach.whole = reach.whole && outside == 0;
      }
      reach.quads = last - reach.first;
      reaches_.push_back(reach);
      holes_.begin.push_back(static_cast<std::int64_t>(holes_.list.size()));
    }
}

MaskedTaps::Tap MaskedTaps::tap(std::int64_t index) const {
  const Reach& reach = reaches_[static_cast<std::size_t>(index)];
  return {reach.first, reach.quads,
          reach.whole ? nullptr : masks_.data() + index * sample_quads_ + reach.first};
}

}  // namespace octavo::kernels
