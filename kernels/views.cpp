// Sizes of views, and views that serve several readers.
#include <algorithm>

#include "kernels.h"

namespace octavo::kernels {

std::int64_t View::bytes() const {
  constexpr std::int64_t slack = 64;
  switch (layout) {
    case Layout::plain:
      return n * h * w * c + slack;
    case Layout::rows:
      return n * (top + h + bottom) * (left + w + right) * channel_pitch + slack;
    case Layout::planes:
      return n * c * phase_h * phase_w * plane + slack;
    case Layout::quads:
      return n * plane * channel_pitch + slack;
    case Layout::pixels:
      return n * h * w * groups * channel_pitch;
    case Layout::batch:
      return c * pitch * plane;
  }
  return 0;
}

std::int64_t plane_stride(const View& view) {
  const std::int64_t line = view.layout == Layout::pixels || view.layout == Layout::batch ? 256 : 64;
  return (view.bytes() + line - 1) / line * line;
}

std::int64_t planes_bytes(const View& view, int planes) {
  return (planes - 1) * plane_stride(view) + view.bytes();
}

bool merge_views(View& into, const View& other) {
  if (into == other) return true;
  if (into.layout != Layout::rows || other.layout != Layout::rows || into.zero != other.zero) return false;
  if (into.n != other.n || into.h != other.h || into.w != other.w || into.c != other.c) return false;
  into.top = std::max(into.top, other.top);
  into.left = std::max(into.left, other.left);
  into.bottom = std::max(into.bottom, other.bottom);
  into.right = std::max(into.right, other.right);
  into.channel_pitch = std::max(into.channel_pitch, other.channel_pitch);
  return true;
}

}  // namespace octavo::kernels
