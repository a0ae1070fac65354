// How the threads of the quantize kernels share an image tensor. The kernel that writes both copies takes one
// pixel of 64 images and 64 places of channels: it reads and stores 16 channels of one image a thread, and
// through shared memory stores 16 images of one channel a thread.
#pragma once

#include "layouts.h"

namespace octavo::kernels::cuda {

constexpr int quantize_threads = 256, quantize_tile = 64;
constexpr int quantize_pitch =
    68;  // bytes of a channel in shared memory: four segments apart fall into other banks

struct QuantizeBlock {
  int pixel, slot, image;  // the first ones
};
OCTAVO_HD constexpr int quantize_slot_tiles(const ImageLayout& layout) {
  return static_cast<int>(ceil_div(layout.pixel_pitch(), quantize_tile));
}
OCTAVO_HD constexpr int quantize_image_tiles(const ImageLayout& layout) {
  return static_cast<int>(ceil_div(layout.n, quantize_tile));
}
/// Blocks for as many images, or places of an order of samples.
OCTAVO_HD constexpr std::int64_t quantize_blocks(const ImageLayout& layout, int images) {
  return std::int64_t{layout.h} * layout.w * quantize_slot_tiles(layout) * ceil_div(images, quantize_tile);
}
OCTAVO_HD constexpr std::int64_t quantize_blocks(const ImageLayout& layout) {
  return quantize_blocks(layout, layout.n);
}
OCTAVO_HD constexpr QuantizeBlock quantize_block(const ImageLayout& layout, std::int64_t block) {
  const std::int64_t outer = block / quantize_slot_tiles(layout);
  const std::int64_t pixels = std::int64_t{layout.h} * layout.w;
  return {static_cast<int>(outer % pixels),
          static_cast<int>(block % quantize_slot_tiles(layout)) * quantize_tile,
          static_cast<int>(outer / pixels) * quantize_tile};
}

/// A thread's 16 channels of one image, or 16 images of one channel, from the block's first.
struct QuantizeShare {
  int slot, image;
};
OCTAVO_HD constexpr QuantizeShare channel_share(int thread) {
  return {thread % 4 * segment_bytes, thread / 4};
}
OCTAVO_HD constexpr QuantizeShare image_share(int thread) { return {thread / 4, thread % 4 * segment_bytes}; }
OCTAVO_HD constexpr int staged_byte(int slot, int image) { return slot * quantize_pitch + image; }

}  // namespace octavo::kernels::cuda
