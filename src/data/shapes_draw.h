// Draws one image of the procedural set `shapes`.
#pragma once

#include <cstdint>

#include "random.h"

namespace octavo {

constexpr int shape_kinds = 10;
extern const char* const shape_names[shape_kinds];

/// How hard the images are. Lengths are shares of the image side, colours of 255.
struct ShapesStyle {
  float smallest_radius = 0.25f, largest_radius = 0.43f;
  float turn = 0.27f;      // tangent of half the largest rotation
  float contrast = 0.24f;  // least mean distance of the shape's colour to the ground's
  float ground = 0.14f;    // amplitude of the blotches in the background
  float texture = 0.12f;   // amplitude of the shape's stripes
  float noise = 0.085f;    // amplitude of the noise of every value, uniform
  int clutter = 3;         // small shapes of random kinds behind the shape
};

/// Writes u8 [side, side, 3], side in [8, 512]; decided by the arguments alone, on every machine.
void draw_shape(const ShapesStyle& style, kernels::RandomKey key, int kind, std::int64_t side,
                std::uint8_t* out);

}  // namespace octavo
