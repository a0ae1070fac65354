// Draws shapes row by row: blotchy background, clutter, the textured shape, noise. Plain float arithmetic and
// square roots only, so that every machine draws the same bytes.
#include "data/shapes_draw.h"

#include <algorithm>
#include <array>
#include <cmath>

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
constexpr Distance distances[shape_kinds] = {disk, ring,  square, frame,     upright_triangle,
                                             star, cross, bar,    half_disk, crescent};

/// One shape on the image, in pixels.
struct Item {
  Distance distance = nullptr;
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
  item.distance = distances[kind];
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

void fill_ground(const Ground& ground, std::int64_t side, std::int64_t y, float* row) {
  const float step = static_cast<float>(grid - 1) / static_cast<float>(side);
  const float v = static_cast<float>(y) * step;
  const auto top = static_cast<std::size_t>(v);
  const float low = v - static_cast<float>(top);
  std::array<Colour, grid> line;
  for (std::size_t i = 0; i < grid; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      line[i][c] = ground.knots[top * grid + i][c] * (1 - low) + ground.knots[(top + 1) * grid + i][c] * low;
  for (std::int64_t x = 0; x < side; ++x) {
    const float u = static_cast<float>(x) * step;
    const auto left = static_cast<std::size_t>(u);
    const float right = u - static_cast<float>(left);
    for (std::size_t c = 0; c < 3; ++c)
      row[x * 3 + static_cast<std::int64_t>(c)] = line[left][c] * (1 - right) + line[left + 1][c] * right;
  }
}

void blend_item(const Item& item, std::int64_t side, std::int64_t y, float* row) {
  const float reach = 1.3f * item.radius + 1;
  const float dy = static_cast<float>(y) + 0.5f - item.y;
  if (std::fabs(dy) > reach) return;
  const auto first = static_cast<std::int64_t>(std::max(0.0f, item.x - reach));
  const auto end = std::min(side, static_cast<std::int64_t>(std::max(0.0f, item.x + reach)) + 1);
  const float inverse = 1 / item.radius;
  for (std::int64_t x = first; x < end; ++x) {
    const float dx = static_cast<float>(x) + 0.5f - item.x;
    const float u = (item.cosine * dx + item.sine * dy) * inverse * item.aspect;
    const float v = (item.cosine * dy - item.sine * dx) * inverse;
    const float cover = std::clamp(0.5f - item.distance(u, v) * item.radius, 0.0f, 1.0f);
    if (cover == 0) continue;
    const float turns = u * item.frequency + item.phase + 8;  // a triangle wave, kept positive
    const float wave = std::fabs((turns - static_cast<float>(static_cast<int>(turns))) * 4 - 2) - 1;
    for (std::size_t c = 0; c < 3; ++c) {
      float& value = row[x * 3 + static_cast<std::int64_t>(c)];
      value += cover * (item.colour[c] + wave * item.stripes[c] - value);
    }
  }
}

}  // namespace

void draw_shape(const ShapesStyle& style, kernels::RandomKey key, int kind, std::int64_t side,
                std::uint8_t* out) {
  Draws draws(key);
  const Scene scene = draw_scene(style, draws, kind, static_cast<float>(side));
  const kernels::RandomKey noise_key{key.b, key.a};
  const float amplitude = style.noise * 255.0f / 128.0f;
  std::array<float, largest_side * 3> row;
  for (std::int64_t y = 0; y < side; ++y) {
    fill_ground(scene.ground, side, y, row.data());
    for (int i = 0; i < scene.count; ++i)
      blend_item(scene.items[static_cast<std::size_t>(i)], side, y, row.data());
    for (std::int64_t x = 0; x < side; ++x) {
      const std::uint32_t bits = kernels::random_bits(noise_key, static_cast<std::uint32_t>(y * side + x));
      for (int c = 0; c < 3; ++c, ++out) {
        const float noise = static_cast<float>(static_cast<int>(bits >> (8 * c) & 255) - 128) * amplitude;
        const float value = row[static_cast<std::size_t>(x * 3 + c)] * 255.0f + noise + 0.5f;
        *out = static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
      }
    }
  }
}

}  // namespace octavo
