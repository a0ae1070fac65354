// Writes the integers of one tile, in L1, to every view of the list; compiled for each instruction set like
// chain_tile.h.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "chain_plan.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

/// Values become offset bytes: value + 128 is the value with its top bit flipped, value + 0 is itself.
void copy_offset(const std::int8_t* q, std::int64_t count, std::uint8_t zero, std::uint8_t* out) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(q[i] ^ zero);
}

/// First `count` bytes of 16 set.
__m128i byte_mask(std::int64_t count) {
  alignas(16) static constexpr std::int8_t ramp[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(count > 16 ? 16 : count)),
                        _mm_load_si128(reinterpret_cast<const __m128i*>(ramp)));
}

__m128i load16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
void store16(void* to, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(to), v); }

/// Pixels with pad channels. Whole vectors run over the end of a pixel into the next one, which is written
/// later; the last pixels are written exactly.
void copy_padded(const std::int8_t* q, std::int64_t c, std::int64_t pitch, std::int64_t pixels,
                 std::uint8_t zero, std::uint8_t* out) {
  const __m128i offset = _mm_set1_epi8(static_cast<char>(zero)), mask = byte_mask(c % 16 == 0 ? 16 : c % 16);
  const std::int64_t body = (c - 1) / 16 * 16, last_safe = pixels - 1 - 16 / pitch;
  std::int64_t p = 0;
  for (; p < last_safe; ++p, q += c, out += pitch) {
    for (std::int64_t k = 0; k < body; k += 16) store16(out + k, _mm_xor_si128(load16(q + k), offset));
    store16(out + body, _mm_xor_si128(_mm_and_si128(load16(q + body), mask), offset));
    for (std::int64_t k = body + 16; k < pitch; k += 16) store16(out + k, offset);
  }
  for (; p < pixels; ++p, q += c, out += pitch) {
    copy_offset(q, c, zero, out);
    std::memset(out + c, zero, static_cast<std::size_t>(pitch - c));
  }
}

[[gnu::noinline]] void write_rows(const ChainPlan& plan, const View& view, const ChainTile& tile,
                                  const std::int8_t* q, std::uint8_t* out) {
  const std::int64_t pitch = view.channel_pitch, line = (view.left + plan.w + view.right) * pitch;
  const std::int64_t columns = tile.column_end - tile.column;
  out += tile.sample * (view.top + plan.h + view.bottom) * line;
  if (tile.index == 0) std::memset(out, view.zero, static_cast<std::size_t>(view.top * line));
  for (std::int64_t i = tile.row; i < tile.row_end; ++i, q += columns * plan.c) {
    std::uint8_t* row = out + (view.top + i) * line;
    if (tile.column == 0) std::memset(row, view.zero, static_cast<std::size_t>(view.left * pitch));
    std::uint8_t* pixels = row + (view.left + tile.column) * pitch;
    if (pitch == plan.c)
      copy_offset(q, columns * plan.c, view.zero, pixels);
    else
      copy_padded(q, plan.c, pitch, columns, view.zero, pixels);
    if (tile.column_end == plan.w)
      std::memset(row + (view.left + plan.w) * pitch, view.zero,
                  static_cast<std::size_t>(view.right * pitch));
  }
  if (tile.index + 1 == plan.tiles)
    std::memset(out + (view.top + plan.h) * line, view.zero, static_cast<std::size_t>(view.bottom * line));
}

/// One block of Simd::block pixels by 16 channels: bytes transposed, one vector per channel.
void write_plane_block(const std::int8_t* zero, const std::int32_t* from, std::int64_t pixels,
                       std::int64_t channels, std::int64_t stride, std::uint8_t offset, std::uint8_t* out) {
  typename Simd::Bytes rows[16], next[16];
  for (int r = 0; r < 16; ++r) rows[r] = Simd::gather(zero, from + r);
  // Four perfect shuffles of the 256 bytes of a lane exchange its rows and columns.
  for (int round = 0; round < 2; ++round) {
    for (int r = 0; r < 8; ++r)
      next[2 * r] = Simd::low(rows[r], rows[r + 8]), next[2 * r + 1] = Simd::high(rows[r], rows[r + 8]);
    for (int r = 0; r < 8; ++r)
      rows[2 * r] = Simd::low(next[r], next[r + 8]), rows[2 * r + 1] = Simd::high(next[r], next[r + 8]);
  }
  for (std::int64_t k = 0; k < channels; ++k) Simd::store_offset(out + k * stride, rows[k], offset, pixels);
}

[[gnu::noinline]] void write_planes(const ChainPlan& plan, const View& view, const std::int32_t* table,
                                    const ChainTile& tile, const std::int8_t* zero, std::uint8_t* out) {
  const std::int64_t phases = view.phase_h * view.phase_w, stride = phases * view.plane;
  out += tile.sample * plan.c * stride;
  for (std::int64_t phase = 0; phase < phases; ++phase) {
    const PlaneRange range = plane_range(plan, view, phase, tile);
    for (std::int64_t p = range.first; p < range.last; p += Simd::block) {
      const std::int64_t pixels = range.last - p < Simd::block ? range.last - p : Simd::block;
      std::int32_t from[Simd::block] = {};
      std::memcpy(from, table + phase * view.plane + p,
                  static_cast<std::size_t>(pixels) * sizeof(std::int32_t));
      for (std::int64_t k = 0; k < plan.c; k += 16)
        write_plane_block(zero + k, from, pixels, plan.c - k < 16 ? plan.c - k : 16, stride, view.zero,
                          out + k * stride + phase * view.plane + p);
    }
  }
}

/// Four pixels, interleaved; `keep` leaves what other pixels of the quad already hold.
void write_quad(const ChainPlan& plan, const View& view, const std::int8_t* const pixel[4], bool keep,
                std::int8_t* out) {
  const std::int64_t pitch = view.channel_pitch;
  for (std::int64_t k = 0; k < plan.c; k += 16)
    Simd::store_quad(pixel, k, plan.c - k, pitch - k, keep, out + 4 * k);
  const std::int64_t written = (plan.c + 15) / 16 * 16;
  if (pitch > written) std::memset(out + 4 * written, 0, static_cast<std::size_t>(4 * (pitch - written)));
}

[[gnu::noinline]] void write_quads(const ChainPlan& plan, const View& view, const std::int32_t* table,
                                   const ChainTile& tile, const std::int8_t* zero, std::int8_t* out) {
  const PlaneRange range = plane_range(plan, view, 0, tile);
  const std::int64_t pitch = view.channel_pitch;
  out += tile.sample * view.plane * pitch;
  const std::int8_t* pixel[4];
  for (std::int64_t p = range.first / 4 * 4; p < range.last; p += 4) {
    if (p < range.first || p + 4 > range.last)
      for (std::int64_t i = 0; i < 4; ++i)
        pixel[i] = zero + (p + i >= range.first && p + i < range.last ? table[p + i] : 0);
    else
      for (std::int64_t i = 0; i < 4; ++i) pixel[i] = zero + table[p + i];
    // The tile before wrote the first pixels of this quad, and zeros in place of the rest.
    write_quad(plan, view, pixel, p < range.first, out + p * pitch);
  }
}

void write_view(const ChainPlan& plan, std::int64_t index, const ChainTile& tile, const std::int8_t* q,
                void* target) {
  const View& view = plan.views[index];
  const std::int8_t* zero = q - plan.zero_bytes;
  auto* bytes = static_cast<std::uint8_t*>(target);
  auto* integers = static_cast<std::int8_t*>(target);
  switch (view.layout) {
    case Layout::plain:
      std::memcpy(integers + tile.first, q, static_cast<std::size_t>(tile.count));
      break;
    case Layout::rows:
      write_rows(plan, view, tile, q, bytes);
      break;
    case Layout::planes:
      write_planes(plan, view, position_table(plan, index), tile, zero, bytes);
      break;
    case Layout::quads:
      write_quads(plan, view, position_table(plan, index), tile, zero, integers);
      break;
    case Layout::pixels:
    case Layout::batch:  // plan_chain() refuses them
      break;
  }
}

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
