// The kernels of pointwise chains: one read and one write of each tensor, the steps between in registers.
#pragma once

#include "chain_block.cuh"
#include "chain_segment.h"
#include "chain_sums.h"

namespace octavo::kernels::cuda {

/// The chain of a segment without its copies.
__device__ inline void run_segment(const ChainPass& pass, const Segment& at, Values& v, ChainBlock& block) {
  run_steps(pass, at, v, block);
  block.note_max(at, v);
}

/// Its integers: to the pixel copy, returned for the other one.
__device__ inline void quantize_pixel(const ChainPass& pass, const QuantizeRule& rule, const Segment& at,
                                      std::int64_t byte, const Values& v, ChainBlock& block,
                                      std::int32_t (&q)[segment_bytes]) {
  quantize_values(rule, pass.scales, at, v, q, block.counts);
  store_pixels(pass.layout, rule.planes, pass.pixel_copy, byte, q);
}

/// No batch copy, no sums: see PixelWalk.
static __global__ void __launch_bounds__(chain_threads, 2)
    chain_pixels_kernel(const __grid_constant__ ChainPass pass) {
  const ImageLayout& layout = pass.layout;
  const PixelWalk walk = pixel_walk(layout);
  const PixelRun run = pixel_run(layout, walk, blockIdx.x, threadIdx.x);
  const QuantizeRule rule = with_draws(pass.rule, pass.draws);
  const int pixels = layout.h * layout.w, place = static_cast<int>(threadIdx.x) % walk.slots * segment_bytes;
  ChainBlock block(pass, place);
  for (int pixel = run.pixel; pixel < run.end; pixel += walk.lanes) {
    const Segment at = segment_at(layout, pixel / pixels, pixel % pixels, run.slot);
    Values v;
    run_segment(pass, at, v, block);
    if (pass.pixel_copy == nullptr) continue;
    std::int32_t q[segment_bytes];
    quantize_pixel(pass, rule, at, layout.pixel_copy_byte(0, pixel, run.slot), v, block, q);
  }
  block.finish(run.slot - place, walk.slots * segment_bytes);
}

/// With a batch copy, and perhaps the other one: see BatchWalk.
static __global__ void __launch_bounds__(chain_threads, 2)
    chain_both_kernel(const __grid_constant__ ChainPass pass) {
  const ImageLayout& layout = pass.layout;
  __shared__ __align__(16) std::int8_t staged[quantize_tile * quantize_pitch];
  const BatchWalk walk = batch_walk(layout);
  QuantizeBlock tile = walk.first(layout, blockIdx.x);
  const QuantizeShare in = channel_share(threadIdx.x);
  const int image = tile.image + in.image, slot = tile.slot + in.slot;
  const QuantizeRule rule = with_draws(pass.rule, pass.draws);
  ChainBlock block(pass, in.slot);
  const int end = smaller(tile.pixel + std::int64_t{walk.pixels}, std::int64_t{layout.h} * layout.w);
  for (; tile.pixel < end; ++tile.pixel) {
    const Segment at = segment_at(layout, image, tile.pixel, slot);
    std::int32_t q[segment_bytes] = {};
    if (at.count > 0) {
      Values v;
      run_segment(pass, at, v, block);
      quantize_pixel(pass, rule, at, layout.pixel_copy_byte(image, tile.pixel, slot), v, block, q);
    }
    for (int plane = 0; plane < rule.planes; ++plane)
      store_batch(layout, tile, layout.batch_pitch(), q, plane, staged, pass.batch_copy);
  }
  block.finish(tile.slot, quantize_tile);
}

/// The sums of place `slot` of a pixel in a chunk.
__device__ inline void store_chunk(const ChainPass& pass, int chunk, int slot, const double (&total)[2]) {
  const ImageLayout& layout = pass.layout;
  const int channel = slot < layout.pixel_pitch() ? layout.channel_at(slot) : -1;
  if (channel < 0) return;
  double* sums = static_cast<double*>(pass.scratch) + std::int64_t{chunk} * 2 * layout.c;
  sums[channel] = total[0], sums[layout.c + channel] = total[1];
}

/// Of sums: the lanes of a thread in a piece, with the copies if there are any.
template <bool copies>
__device__ inline void run_piece(const ChainPass& pass, const SumsWalk& walk, const SumsWalk::Pixels& piece,
                                 int lane, int slot, ChainBlock& block) {
  const ImageLayout& layout = pass.layout;
  const int pixels = layout.h * layout.w;
  for (int pixel = piece.first + lane; pixel < piece.end; pixel += walk.lanes) {
    const Segment at = segment_at(layout, pixel / pixels, pixel % pixels, slot);
    Values v;
    run_segment(pass, at, v, block);
    if constexpr (copies) {
      std::int32_t q[segment_bytes];
      quantize_pixel(pass, with_draws(pass.rule, pass.draws), at, layout.pixel_copy_byte(0, pixel, slot), v,
                     block, q);
      store_batch_bytes(layout, pass.rule.planes, pass.batch_copy, at, pixel % pixels, q);
    }
  }
}

/// With sums: a chunk and some segments of its pixels a block, see SumsWalk. FP64 sums of the chunk go to the
/// scratch, [chunk][v, v x][c].
template <bool copies>
__global__ void __launch_bounds__(chain_threads, copies ? 1 : 2)
    chain_sums_kernel(const __grid_constant__ ChainPass pass, const __grid_constant__ SumsWalk walk) {
  __shared__ float lanes[chain_threads * sums_pitch];
  const ImageLayout& layout = pass.layout;
  const int chunk = static_cast<int>(blockIdx.x) / walk.slot_tiles(layout), thread = threadIdx.x;
  const int first_slot = static_cast<int>(blockIdx.x) % walk.slot_tiles(layout) * walk.slots * segment_bytes;
  const SumsShare share = sums_share(walk, thread);
  const int slot = first_slot + share.slot * segment_bytes;
  const int places = walk.slots * segment_bytes;  // one a thread
  const bool takes = share.piece < walk.round_pieces() && slot < layout.pixel_pitch();
  double total[2] = {0, 0};
  ChainBlock block(pass, share.slot * segment_bytes);
  const std::int64_t end = walk.first_piece(chunk + 1);
  for (std::int64_t first = walk.first_piece(chunk); first < end; first += walk.round_pieces()) {
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) block.sum[i] = block.product[i] = 0.0f;
    if (takes && first + share.piece < end)
      run_piece<copies>(pass, walk, walk.pixels(first + share.piece), share.lane, slot, block);
#pragma unroll
    for (int which = 0; which < 2; ++which) {
#pragma unroll
      for (int i = 0; i < segment_bytes; ++i)
        lanes[thread * sums_pitch + i] = which == 0 ? block.sum[i] : block.product[i];
      __syncthreads();
      for (int piece = 0; thread < places && piece < walk.round_pieces() && first + piece < end; ++piece)
        total[which] += static_cast<double>(sum_of_lanes(walk, lanes, piece, thread));
      __syncthreads();
    }
    if constexpr (copies) block.flush_counts();  // 2^16 elements
  }
  if (thread < places) store_chunk(pass, chunk, first_slot + thread, total);
  block.finish(first_slot, places);
}

/// Adds the chunks in order, a channel of a sum a thread.
static __global__ void __launch_bounds__(chain_threads, 2)
    join_sums_kernel(const double* sums, int chunks, std::int64_t c, double* sum_v, double* sum_vx) {
  const std::int64_t at = blockIdx.x * std::int64_t{chain_threads} + threadIdx.x;
  if (at >= 2 * c) return;
  double* out = at < c ? sum_v : sum_vx;
  double total = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) total += sums[chunk * 2 * c + at];
  if (out != nullptr) out[at % c] = total;
}

}  // namespace octavo::kernels::cuda
