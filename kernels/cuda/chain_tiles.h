// How the threads of the chain kernels share an image tensor, by its sizes alone. A thread keeps its 16
// places of a pixel and goes from pixel to pixel.
#pragma once

#include "quantize_tiles.h"

namespace octavo::kernels::cuda {

constexpr int chain_threads = quantize_threads;
constexpr int most_tile_slots = 16;  // segments of a pixel in a block
constexpr int most_tile_places = most_tile_slots * segment_bytes;
constexpr int enough_blocks = 1024;  // longer runs of pixels only when there are so many

OCTAVO_HD constexpr int smaller(std::int64_t a, std::int64_t b) { return static_cast<int>(a < b ? a : b); }
OCTAVO_HD constexpr int pixel_slots(const ImageLayout& l) { return l.pixel_pitch() / segment_bytes; }
OCTAVO_HD constexpr std::int64_t pixels_of(const ImageLayout& l) { return std::int64_t{l.n} * l.h * l.w; }

/// Without a batch copy: a block takes `slots` neighbouring segments of `steps` * `lanes` pixels in a row.
struct PixelWalk {
  int slots, tiles, lanes, steps;
  OCTAVO_HD constexpr std::int64_t blocks(const ImageLayout& l) const {
    return tiles * ceil_div(pixels_of(l), lanes * steps);
  }
};
OCTAVO_HD constexpr PixelWalk pixel_walk(const ImageLayout& l) {
  const int tiles = static_cast<int>(ceil_div(pixel_slots(l), most_tile_slots));
  const int slots = static_cast<int>(ceil_div(pixel_slots(l), tiles)), lanes = chain_threads / slots;
  const int steps = smaller(tiles * ceil_div(pixels_of(l), lanes) / enough_blocks, 16);
  return {slots, tiles, lanes, steps < 1 ? 1 : steps};
}

/// What a thread of it takes: pixels [pixel, end) of all images in steps of walk.lanes; none where it is one
/// too many or beyond the last channel.
struct PixelRun {
  int slot, pixel, end;
};
OCTAVO_HD constexpr PixelRun pixel_run(const ImageLayout& l, const PixelWalk& walk, std::int64_t block,
                                       int thread) {
  const std::int64_t first = block / walk.tiles * walk.lanes * walk.steps;
  const int slot = (static_cast<int>(block % walk.tiles) * walk.slots + thread % walk.slots) * segment_bytes;
  const bool idle = thread >= walk.lanes * walk.slots || slot >= l.pixel_pitch();
  return {slot, static_cast<int>(first + thread / walk.slots),
          idle ? 0 : smaller(first + std::int64_t{walk.lanes} * walk.steps, pixels_of(l))};
}

/// With a batch copy: as a quantize pass, 64 images and 64 places, of `pixels` pixels one after the other.
struct BatchWalk {
  int pixels;
  OCTAVO_HD constexpr std::int64_t parts(const ImageLayout& l) const {
    return ceil_div(std::int64_t{l.h} * l.w, pixels);
  }
  OCTAVO_HD constexpr std::int64_t blocks(const ImageLayout& l) const {
    return parts(l) * quantize_slot_tiles(l) * quantize_image_tiles(l);
  }
  OCTAVO_HD constexpr QuantizeBlock first(const ImageLayout& l, std::int64_t block) const {
    const std::int64_t outer = block / quantize_slot_tiles(l);
    return {static_cast<int>(outer % parts(l)) * pixels,
            static_cast<int>(block % quantize_slot_tiles(l)) * quantize_tile,
            static_cast<int>(outer / parts(l)) * quantize_tile};
  }
};
OCTAVO_HD constexpr BatchWalk batch_walk(const ImageLayout& l) {
  const int pixels = smaller(quantize_blocks(l) / enough_blocks, 8);
  return {pixels < 1 ? 1 : pixels};
}

}  // namespace octavo::kernels::cuda
