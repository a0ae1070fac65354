// Draws shapes row by row: blotchy background, clutter, the textured shape, noise. Plain float arithmetic and
// square roots only, so that every machine draws the same bytes.
#include "data/shapes_draw.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "clones.h"
#include "floats.h"

namespace octavo {

const char* const shape_names[shape_kinds] = {"disk", "ring",  "square", "frame",     "triangle",
                                              "star", "cross", "bar",    "half_disk", "crescent"};

namespace {

using Colour = std::array<float, 3>;
constexpr std::int64_t largest_side = 512;
constexpr int grid = 5;  // knots of the background per axis
constexpr int most_items = 16;

/// Draws of one image, in order.
class Draws {
 public:
  explicit Draws(kernels::RandomKey key) : key_(key) {}
  float uniform(float low, float high) {
    return low + (high - low) * kernels::random_uniform(key_, counter_++);
  }
  std::uint32_t bits() { return kernels::random_bits(key_, counter_++); }
  Colour colour(float low, float high) {
    const float r = uniform(low, high), g = uniform(low, high), b = uniform(low, high);
    return {r, g, b};
  }

 private:
  kernels::RandomKey key_;
  std::uint32_t counter_ = 0;
};

float length(float u, float v) { return std::sqrt(u * u + v * v); }
float box(float u, float v, float a, float b) { return std::max(std::fabs(u) - a, std::fabs(v) - b); }
float triangle(float u, float v) { return std::max(-v, 0.8660254f * std::fabs(u) + 0.5f * v) - 0.5f; }

// Signed distances, roughly, of shapes of radius 1: negative inside.
float disk(float u, float v) { return length(u, v) - 0.85f; }
float ring(float u, float v) { return std::fabs(length(u, v) - 0.68f) - 0.22f; }
float square(float u, float v) { return box(u, v, 0.75f, 0.75f); }
float frame(float u, float v) { return std::fabs(box(u, v, 0.6f, 0.6f)) - 0.2f; }
float upright_triangle(float u, float v) { return triangle(0.9f * u, 0.9f * v + 0.1f); }
float star(float u, float v) { return std::min(triangle(u, v), triangle(u, -v)); }
float cross(float u, float v) { return std::min(box(u, v, 0.95f, 0.28f), box(u, v, 0.28f, 0.95f)); }
float bar(float u, float v) { return box(u, v, 1.0f, 0.36f); }
float half_disk(float u, float v) { return std::max(length(u, v + 0.4f) - 0.95f, -v - 0.4f); }
float crescent(float u, float v) { return std::max(length(u, v) - 0.95f, 0.75f - length(u - 0.42f, v)); }

using Distance = float (*)(float, float);

template <Distance distance>
OCTAVO_ALWAYS_INLINE void each(const float* __restrict u, const float* __restrict v, std::int64_t count,
                               float* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = distance(u[i], v[i]);
}

/// out[i] = distance of (u[i], v[i]) from the shape of this kind.
OCTAVO_CLONES void distances(int kind, const float* u, const float* v, std::int64_t count, float* out) {
  switch (kind) {
    case 0:
      return each<disk>(u, v, count, out);
    case 1:
      return each<ring>(u, v, count, out);
    case 2:
      return each<square>(u, v, count, out);
    case 3:
      return each<frame>(u, v, count, out);
    case 4:
      return each<upright_triangle>(u, v, count, out);
    case 5:
      return each<star>(u, v, count, out);
    case 6:
      return each<cross>(u, v, count, out);
    case 7:
      return each<bar>(u, v, count, out);
    case 8:
      return each<half_disk>(u, v, count, out);
    default:
      return each<crescent>(u, v, count, out);
  }
}

/// One shape on the image, in pixels.
struct Item {
  int kind = 0;
  float x = 0, y = 0, radius = 1, cosine = 1, sine = 0, aspect = 1;
  Colour colour{}, stripes{};
  float frequency = 0, phase = 0;  // stripes per radius
};

struct Ground {
  std::array<Colour, grid * grid> knots;
};

struct Scene {
  Ground ground;
  std::array<Item, most_items> items;
  int count = 0;
};

/// A direction near upright, without sine and cosine, whose last bit differs among mathematics
/// libraries.
void draw_direction(Draws& draws, float turn, Item& item) {
  const float t = draws.uniform(-turn, turn);
  item.cosine = (1 - t * t) / (1 + t * t);
  item.sine = 2 * t / (1 + t * t);
}

Item draw_item(const ShapesStyle& style, Draws& draws, int kind, float side, float radius,
               const Colour& colour) {
  Item item;
  item.kind = kind;
  item.radius = radius * side;
  draw_direction(draws, style.turn, item);
  item.aspect = draws.uniform(0.85f, 1.18f);
  item.colour = colour;
  item.stripes = draws.colour(-style.texture, style.texture);
  item.frequency = draws.uniform(0.8f, 2.2f);
  item.phase = draws.uniform(0, 1);
  return item;
}

/// A colour at least `contrast` away from `ground` in the mean over the channels.
Colour contrasting(Draws& draws, const Colour& ground, float contrast) {
  Colour colour = draws.colour(0.1f, 0.9f);
  float distance = 0;
  for (std::size_t c = 0; c < 3; ++c) distance += std::fabs(colour[c] - ground[c]) / 3;
  if (distance >= contrast) return colour;
  const float lift = draws.uniform(contrast, 1.5f * contrast);
  for (std::size_t c = 0; c < 3; ++c) colour[c] = ground[c] + (ground[c] < 0.5f ? lift : -lift);
  return colour;
}

Scene draw_scene(const ShapesStyle& style, Draws& draws, int kind, float side) {
  Scene scene;
  const Colour base = draws.colour(0.2f, 0.8f);
  for (Colour& knot : scene.ground.knots) {
    knot = draws.colour(-style.ground, style.ground);
    for (std::size_t c = 0; c < 3; ++c) knot[c] += base[c];
  }
  const int clutter = std::min(style.clutter, most_items - 1);
  for (int i = 0; i < clutter; ++i) {
    const int other = static_cast<int>(draws.bits() % shape_kinds);
    const float radius = draws.uniform(0.25f, 0.45f) * style.smallest_radius;
    Item item = draw_item(style, draws, other, side, radius, draws.colour(0.1f, 0.9f));
    item.x = draws.uniform(0, side);
    item.y = draws.uniform(0, side);
    scene.items[static_cast<std::size_t>(scene.count++)] = item;
  }
  const float radius = draws.uniform(style.smallest_radius, style.largest_radius);
  Item item = draw_item(style, draws, kind, side, radius, contrasting(draws, base, style.contrast));
  const float margin = std::min(0.9f * radius, 0.5f) * side;
  item.x = draws.uniform(margin, side - margin);
  item.y = draws.uniform(margin, side - margin);
  scene.items[static_cast<std::size_t>(scene.count++)] = item;
  return scene;
}

/// One row of the image, a channel after the other.
struct Row {
  alignas(64) float value[3][largest_side];
};

OCTAVO_CLONES void blend_knots(float left, float right, float step, std::int64_t knot, std::int64_t first,
                               std::int64_t end, float* __restrict row) {
  for (std::int64_t x = first; x < end; ++x) {
    const float share = static_cast<float>(static_cast<int>(x)) * step - static_cast<float>(knot);
    row[x] = left * (1 - share) + right * share;
  }
}

void fill_ground(const Ground& ground, std::int64_t side, std::int64_t y, Row& row) {
  const float step = static_cast<float>(grid - 1) / static_cast<float>(side);
  const float v = static_cast<float>(y) * step;
  const auto top = static_cast<std::size_t>(v);
  const float low = v - static_cast<float>(top);
  std::array<Colour, grid> line;
  for (std::size_t i = 0; i < grid; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      line[i][c] = ground.knots[top * grid + i][c] * (1 - low) + ground.knots[(top + 1) * grid + i][c] * low;
  std::int64_t first = 0;
  for (std::int64_t left = 0; left + 1 < grid; ++left) {
    std::int64_t end = first;
    while (end < side && static_cast<float>(end) * step < static_cast<float>(left + 1)) ++end;
    const auto at = static_cast<std::size_t>(left);
    for (std::size_t c = 0; c < 3; ++c)
      blend_knots(line[at][c], line[at + 1][c], step, left, first, end, row.value[c]);
    first = end;
  }
}

/// Coordinates of the pixels [first, first + count) of a row in those of the item.
OCTAVO_CLONES void place(const Item& item, std::int64_t first, std::int64_t count, float dy,
                         float* __restrict u, float* __restrict v) {
  const float inverse = 1 / item.radius, cosine = item.cosine, sine = item.sine, aspect = item.aspect,
              left = item.x;
  for (std::int64_t i = 0; i < count; ++i) {
    const float dx = static_cast<float>(static_cast<int>(first + i)) + 0.5f - left;
    u[i] = (cosine * dx + sine * dy) * inverse * aspect;
    v[i] = (cosine * dy - sine * dx) * inverse;
  }
}

/// `cover` holds distances before, and shares of the pixels after; u the wave of the stripes.
OCTAVO_CLONES void cover_and_wave(const Item& item, std::int64_t count, float* __restrict cover,
                                  float* __restrict u) {
  const float radius = item.radius, frequency = item.frequency, phase = item.phase;
  for (std::int64_t i = 0; i < count; ++i) {
    const float share = 0.5f - cover[i] * radius;
    cover[i] = share < 0 ? 0 : share > 1 ? 1 : share;
    const float turns = u[i] * frequency + phase + 8;  // a triangle wave, kept positive
    u[i] = std::fabs((turns - static_cast<float>(static_cast<int>(turns))) * 4 - 2) - 1;
  }
}

OCTAVO_CLONES void blend(float colour, float stripes, const float* __restrict cover,
                         const float* __restrict wave, std::int64_t count, float* __restrict row) {
  for (std::int64_t i = 0; i < count; ++i) row[i] += cover[i] * (colour + wave[i] * stripes - row[i]);
}

void blend_item(const Item& item, std::int64_t side, std::int64_t y, Row& row) {
  const float reach = 1.3f * item.radius + 1;
  const float dy = static_cast<float>(y) + 0.5f - item.y;
  if (std::fabs(dy) > reach) return;
  const auto first = static_cast<std::int64_t>(std::max(0.0f, item.x - reach));
  const auto end = std::min(side, static_cast<std::int64_t>(std::max(0.0f, item.x + reach)) + 1);
  if (first >= end) return;
  alignas(64) float u[largest_side], v[largest_side], cover[largest_side];
  place(item, first, end - first, dy, u, v);
  distances(item.kind, u, v, end - first, cover);
  cover_and_wave(item, end - first, cover, u);
  for (std::size_t c = 0; c < 3; ++c)
    blend(item.colour[c], item.stripes[c], cover, u, end - first, row.value[c] + first);
}

OCTAVO_CLONES void draw_noise(kernels::RandomKey key, std::int64_t first, std::int64_t count,
                              std::uint32_t* __restrict bits) {
  for (std::int64_t i = 0; i < count; ++i)
    bits[i] = kernels::random_bits(key, static_cast<std::uint32_t>(first + i));
}

/// Channel c of a row as bytes; of the noise's bits it takes eight.
OCTAVO_CLONES void to_bytes(const float* __restrict row, const std::uint32_t* __restrict bits, int c,
                            float amplitude, std::int64_t count, std::uint8_t* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float noise = static_cast<float>(static_cast<int>(bits[i] >> (8 * c) & 255) - 128) * amplitude;
    const float value = row[i] * 255.0f + noise + 0.5f;
    out[i] = static_cast<std::uint8_t>(static_cast<int>(value < 0 ? 0 : value > 255 ? 255 : value));
  }
}

}  // namespace

void draw_shape(const ShapesStyle& style, kernels::RandomKey key, int kind, std::int64_t side,
                std::uint8_t* out) {
  Draws draws(key);
  const Scene scene = draw_scene(style, draws, kind, static_cast<float>(side));
  const float amplitude = style.noise * 255.0f / 128.0f;
  Row row;
  alignas(64) std::uint32_t bits[largest_side];
  alignas(64) std::uint8_t bytes[3][largest_side];
  for (std::int64_t y = 0; y < side; ++y) {
    fill_ground(scene.ground, side, y, row);
    for (int i = 0; i < scene.count; ++i) blend_item(scene.items[static_cast<std::size_t>(i)], side, y, row);
    draw_noise({key.b, key.a}, y * side, side, bits);
    for (int c = 0; c < 3; ++c) to_bytes(row.value[c], bits, c, amplitude, side, bytes[c]);
    for (std::int64_t x = 0; x < side; ++x, out += 3)
      out[0] = bytes[0][x], out[1] = bytes[1][x], out[2] = bytes[2][x];
  }
}

}  // namespace octavo
