// The meaning of the view layouts: every byte of a view and the element it stands for.
#include <cstring>

#include "kernels.h"

namespace octavo::kernels {
namespace {

struct Pixel {
  std::int64_t i, j;
};

bool inside(const View& view, Pixel p) { return p.i >= 0 && p.i < view.h && p.j >= 0 && p.j < view.w; }

/// Index in the plain tensor.
std::int64_t plain_index(const View& view, std::int64_t m, Pixel p, std::int64_t ch) {
  return ((m * view.h + p.i) * view.w + p.j) * view.c + ch;
}

/// Calls visit(byte of the view, index in the plain tensor or -1) for every byte of the layout.
template <typename Visit>
void visit_rows(const View& view, Visit visit) {
  std::int64_t byte = 0;
  for (std::int64_t m = 0; m < view.n; ++m)
    for (std::int64_t i = -view.top; i < view.h + view.bottom; ++i)
      for (std::int64_t j = -view.left; j < view.w + view.right; ++j)
        for (std::int64_t ch = 0; ch < view.channel_pitch; ++ch, ++byte)
          visit(byte, inside(view, {i, j}) && ch < view.c ? plain_index(view, m, {i, j}, ch) : -1);
}

template <typename Visit>
void visit_planes(const View& view, Visit visit) {
  std::int64_t byte = 0;
  for (std::int64_t m = 0; m < view.n; ++m)
    for (std::int64_t ch = 0; ch < view.c; ++ch)
      for (std::int64_t a = 0; a < view.phase_h; ++a)
        for (std::int64_t b = 0; b < view.phase_w; ++b)
          for (std::int64_t q = 0; q < view.plane; ++q, ++byte) {
            const Pixel p{q / view.pitch * view.phase_h + a - view.top,
                          q % view.pitch * view.phase_w + b - view.left};
            visit(byte, inside(view, p) ? plain_index(view, m, p, ch) : -1);
          }
}

template <typename Visit>
void visit_quads(const View& view, Visit visit) {
  std::int64_t byte = 0;
  for (std::int64_t m = 0; m < view.n; ++m)
    for (std::int64_t quad = 0; quad < view.plane / 4; ++quad)
      for (std::int64_t ch = 0; ch < view.channel_pitch; ++ch)
        for (std::int64_t q = quad * 4; q < quad * 4 + 4; ++q, ++byte) {
          const Pixel p{q / view.pitch, q % view.pitch};
          visit(byte, inside(view, p) && ch < view.c ? plain_index(view, m, p, ch) : -1);
        }
}

template <typename Visit>
void visit_pixels(const View& view, Visit visit) {
  const std::int64_t inner = view.c / view.groups;
  std::int64_t byte = 0;
  for (std::int64_t p = 0; p < view.n * view.h * view.w; ++p)
    for (std::int64_t g = 0; g < view.groups; ++g)
      for (std::int64_t i = 0; i < view.channel_pitch; ++i, ++byte)
        visit(byte, i < inner ? p * view.c + g * inner + i : -1);
}

template <typename Visit>
void visit_batch(const View& view, Visit visit) {
  const std::int64_t pixels = view.n * view.h * view.w;
  std::int64_t byte = 0;
  for (std::int64_t ch = 0; ch < view.c; ++ch)
    for (std::int64_t q = 0; q < view.pitch; ++q)
      for (std::int64_t place = 0; place < view.plane; ++place, ++byte) {
        const std::int64_t p = place * view.pitch + q;
        visit(byte, p < pixels ? p * view.c + ch : -1);
      }
}

template <typename Visit>
void visit_view(const View& view, Visit visit) {
  switch (view.layout) {
    case Layout::plain:
      for (std::int64_t i = 0; i < view.n * view.h * view.w * view.c; ++i) visit(i, i);
      return;
    case Layout::rows:
      return visit_rows(view, visit);
    case Layout::planes:
      return visit_planes(view, visit);
    case Layout::quads:
      return visit_quads(view, visit);
    case Layout::pixels:
      return visit_pixels(view, visit);
    case Layout::batch:
      return visit_batch(view, visit);
  }
}

/// What is added to a value before it is stored.
int stored_offset(const View& view) {
  return view.layout == Layout::rows || view.layout == Layout::planes ? view.zero : 0;
}

}  // namespace

void write_view(const std::int8_t* plain, const View& view, void* target) {
  auto* bytes = static_cast<std::uint8_t*>(target);
  const int offset = stored_offset(view);
  visit_view(view, [&](std::int64_t byte, std::int64_t index) {
    bytes[byte] = static_cast<std::uint8_t>((index < 0 ? 0 : plain[index]) + offset);
  });
}

void read_view(const void* source, const View& view, std::int8_t* plain) {
  const auto* bytes = static_cast<const std::uint8_t*>(source);
  const int offset = stored_offset(view);
  visit_view(view, [&](std::int64_t byte, std::int64_t index) {
    if (index >= 0) plain[index] = static_cast<std::int8_t>(bytes[byte] - offset);
  });
}

}  // namespace octavo::kernels
