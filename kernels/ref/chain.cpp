// Reference chains: every step in plain loops over one block, every view written byte by byte.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "chain_plan.h"

namespace octavo::kernels {
namespace {

/// With fewer chunks threads would wait for each other at the end of a product.
constexpr std::int64_t least_parts = 16;

std::uint32_t magnitude_bits(float v) { return std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu; }

/// Per-channel operand of element `i` of a tile.
struct Operands {
  const float *a, *b, *d;
  FloatSource x;
  std::int64_t period;
  float factor(std::int64_t i) const { return a[i % period]; }
  float offset(std::int64_t i) const { return b[i % period]; }
  float other(std::int64_t i) const { return x ? x[i] : 0.0f; }
};

void store_bits(const Step& step, const ChainTile& tile, const float* v) {
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const std::int64_t at = tile.first + i;
    const std::int64_t byte_end = std::min(tile.count, i + 8 - at % 8);
    std::uint8_t byte = 0;
    const bool shared = at % 8 != 0 || byte_end - i < 8;
    const std::int64_t begin = i;
    for (; i < byte_end; ++i)
      byte |= static_cast<std::uint8_t>((step.lo < v[i] && v[i] < step.hi ? 1 : 0) << ((at + i - begin) % 8));
    --i;
    if (shared)  // other threads may hold the rest of the byte
      std::atomic_ref(step.bits_out[at / 8]).fetch_or(byte, std::memory_order_relaxed);
    else
      step.bits_out[at / 8] = byte;
  }
}

/// FP32 lanes inside the block, folded in order, then FP64.
void add_sums(const ChainPlan& plan, std::int64_t chunk, const Operands& o, const ChainTile& tile,
              const float* v, float* lanes) {
  std::fill(lanes, lanes + 2 * plan.lanes, 0.0f);
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const float other = o.x ? o.x[i] - o.offset(i) : v[i];
    float &sum = lanes[i % plan.lanes], &product = lanes[plan.lanes + i % plan.lanes];
    sum = sum + v[i];
    product = product + v[i] * other;
  }
  for (int which = 0; which < 2; ++which)
    for (std::int64_t channel = 0; channel < plan.c; ++channel) {
      float total = 0;
      for (std::int64_t i = channel; i < plan.lanes; i += plan.c) total += lanes[which * plan.lanes + i];
      plan.sums(chunk)[which * plan.c + channel] += static_cast<double>(total);
    }
}

float masked(const Step& step, const Operands& o, std::int64_t i, float v) {
  const float seen = o.factor(i) * o.other(i) + o.offset(i);
  return step.lo < seen && seen < step.hi ? v : 0.0f;
}

float changed(const Step& step, const Operands& o, const ChainTile& tile, std::int64_t i, float v) {
  const std::int64_t at = tile.first + i;
  switch (step.kind) {
    case StepKind::scale_shift:
      return o.factor(i) * v + o.offset(i);
    case StepKind::add:
      return v + o.other(i);
    case StepKind::relu:
      return v < 0.0f ? 0.0f : v;
    case StepKind::clamp:
      return v < 0.0f ? 0.0f : v > step.hi ? step.hi : v;
    case StepKind::keep_where:
      return masked(step, o, i, v);
    case StepKind::keep_bits:
      return (step.bits[at / 8] >> (at % 8) & 1) != 0 ? v : 0.0f;
    case StepKind::combine:
      return o.factor(i) * v + o.offset(i) * o.other(i) + o.d[i % o.period];
    case StepKind::drop:
      return random_uniform(step.key, step.first_index + static_cast<std::uint32_t>(at)) < step.lo
                 ? 0.0f
                 : v * step.hi;
    default:
      return v;
  }
}

void run_steps(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile, const ChainWork& work) {
  for (std::int64_t s = 0; s < plan.step_count; ++s) {
    const Step& step = plan.steps[s];
    const Operands operands{plan.vector(s, 0), plan.vector(s, 1), plan.vector(s, 2),
                            step.x ? step.x + tile.first : FloatSource{}, plan.period};
    if (step.kind == StepKind::store)
      for (std::int64_t i = 0; i < tile.count; ++i) step.out.set(tile.first + i, work.values[i]);
    else if (step.kind == StepKind::store_bits)
      store_bits(step, tile, work.values);
    else if (step.kind == StepKind::look)
      (*step.look)(tile.sample, tile.count / plan.c, work.values);
    else if (step.kind == StepKind::sums)
      add_sums(plan, chunk, operands, tile, work.values, work.sums);
    else
      for (std::int64_t i = 0; i < tile.count; ++i)
        work.values[i] = changed(step, operands, tile, i, work.values[i]);
  }
}

void count_max(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile, const float* v) {
  for (std::int64_t i = 0; i < tile.count; ++i) {
    std::uint32_t& seen = plan.max_granularity == Granularity::channel
                              ? plan.channel_max(chunk)[i % plan.period]
                              : plan.tile_max(tile.sample)[tile.index];
    if (!std::isnan(v[i])) seen = std::max(seen, magnitude_bits(v[i]));
  }
}

void quantize_block(const ChainPlan& plan, ChunkCounts& counts, const ChainTile& tile, const ChainWork& work,
                    std::int8_t* out) {
  const Quantize& q = *plan.quantize;
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const float v = work.values[i];
    const float scale = q.granularity == Granularity::channel
                            ? plan.inverse_vector()[(tile.first + i) % plan.c]
                        : q.granularity == Granularity::sample ? q.inverse_scale[tile.sample]
                                                               : q.inverse_scale[0];
    float t = v * scale;
    if (std::isnan(t)) t = 0.0f;
    counts.max_bits = std::max(counts.max_bits, magnitude_bits(v));
    counts.saturated += std::fabs(t) > q.qmax + 0.5f;
    t = std::clamp(t, q.is_unsigned ? 0.0f : -q.qmax, q.qmax);
    const bool coarse = q.grid == Grid::flagged && std::fabs(t) >= 128;
    if (q.grid == Grid::odd) t = (t - 1) * 0.5f;
    if (coarse) t = t * 0x1p-7f;
    if (q.rounding == Rounding::stochastic) {
      const std::uint64_t index = q.first_index + static_cast<std::uint64_t>(tile.first + i);
      const float u = static_cast<float>(random_bits16(q.key, index)) * 0x1p-16f, whole = std::floor(t);
      t = q.planes == 1 ? std::floor(t + u) : whole + std::floor((t - whole) + u);
    } else {
      t = std::nearbyint(t);
    }
    std::int64_t integer = static_cast<std::int64_t>(t);
    if (q.grid == Grid::odd) integer = 2 * integer + 1;
    if (coarse) integer = 128 * integer;
    if (q.squares) counts.sum_square += integer * integer;
    for (int plane = 0; plane < q.planes; ++plane) {
      const auto digit = static_cast<std::int8_t>(integer & 0xFF);  // of the same remainder
      out[plane * plan.integer_pitch + i] = digit;
      integer = (integer - digit) / 256;
    }
  }
}

std::uint8_t offset_byte(const View& view, std::int8_t value) {
  return static_cast<std::uint8_t>(value + view.zero);
}

void write_rows(const ChainPlan& plan, const View& view, const ChainTile& tile, const std::int8_t* q,
                std::uint8_t* out) {
  const std::int64_t width = view.left + plan.w + view.right, height = view.top + plan.h + view.bottom;
  const std::int64_t row = tile.index == 0 ? -view.top : tile.row;
  const std::int64_t row_end = tile.index + 1 == plan.tiles ? plan.h + view.bottom : tile.row_end;
  const std::int64_t column = tile.column == 0 ? -view.left : tile.column;
  const std::int64_t column_end = tile.column_end == plan.w ? plan.w + view.right : tile.column_end;
  for (std::int64_t i = row; i < row_end; ++i) {
    const bool inside = i >= tile.row && i < tile.row_end;
    // Rows of the border belong wholly to the first and last tile of the sample.
    for (std::int64_t j = inside ? column : -view.left; j < (inside ? column_end : plan.w + view.right); ++j)
      for (std::int64_t k = 0; k < view.channel_pitch; ++k) {
        const bool pixel = inside && j >= tile.column && j < tile.column_end && k < plan.c;
        const std::int64_t local = (i - tile.row) * (tile.column_end - tile.column) + j - tile.column;
        const std::int64_t at = (tile.sample * height + view.top + i) * width + view.left + j;
        out[at * view.channel_pitch + k] = pixel ? offset_byte(view, q[local * plan.c + k]) : view.zero;
      }
  }
}

void write_planes(const ChainPlan& plan, const View& view, const std::int32_t* table, const ChainTile& tile,
                  const std::int8_t* zero, std::uint8_t* out) {
  const std::int64_t phases = view.phase_h * view.phase_w;
  for (std::int64_t phase = 0; phase < phases; ++phase) {
    const PlaneRange range = plane_range(plan, view, phase, tile);
    for (std::int64_t k = 0; k < plan.c; ++k)
      for (std::int64_t p = range.first; p < range.last; ++p) {
        const std::int32_t from = table[phase * view.plane + p];
        out[((tile.sample * plan.c + k) * phases + phase) * view.plane + p] =
            from == 0 ? view.zero : offset_byte(view, zero[from + k]);
      }
  }
}

void write_quads(const ChainPlan& plan, const View& view, const std::int32_t* table, const ChainTile& tile,
                 const std::int8_t* zero, std::int8_t* out) {
  const PlaneRange range = plane_range(plan, view, 0, tile);
  for (std::int64_t p = range.first; p < range.last; ++p)
    for (std::int64_t k = 0; k < view.channel_pitch; ++k)
      out[((tile.sample * view.plane / 4 + p / 4) * view.channel_pitch + k) * 4 + p % 4] =
          table[p] == 0 || k >= plan.c ? std::int8_t{0} : zero[table[p] + k];
}

void write_view(const ChainPlan& plan, std::int64_t index, const ChainTile& tile, const std::int8_t* q,
                void* target) {
  const View& view = plan.views[index];
  const std::int8_t* zero = q - plan.zero_bytes;
  switch (view.layout) {
    case Layout::plain:
      std::copy(q, q + tile.count, static_cast<std::int8_t*>(target) + tile.first);
      break;
    case Layout::rows:
      write_rows(plan, view, tile, q, static_cast<std::uint8_t*>(target));
      break;
    case Layout::planes:
      write_planes(plan, view, position_table(plan, index), tile, zero, static_cast<std::uint8_t*>(target));
      break;
    case Layout::quads:
      write_quads(plan, view, position_table(plan, index), tile, zero, static_cast<std::int8_t*>(target));
      break;
    case Layout::pixels:
    case Layout::batch:  // plan_chain() refuses them
      break;
  }
}

}  // namespace

void run_chunk_ref(const ChainPlan& plan, std::int64_t chunk) {
  alignas(64) char stack[chain_stack_bytes];
  const ChainWork work(plan, chunk, stack);
  for_tiles(plan, chunk, [&](const ChainTile& tile) {
    for_blocks(plan, tile, [&](const ChainTile& block, std::int64_t done) {
      for (std::int64_t i = 0; i < block.count; ++i) work.values[i] = plan.x ? plan.x[block.first + i] : 0.0f;
      run_steps(plan, chunk, block, work);
      if (plan.want_max) count_max(plan, chunk, block, work.values);
      if (plan.quantize != nullptr)
        quantize_block(plan, plan.counts()[chunk], block, work, work.integers + done);
    });
    for_planes(plan, work, [&](std::int64_t view, const std::int8_t* q, void* target) {
      write_view(plan, view, tile, q, target);
    });
  });
}

void quantize_run_ref(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run, const ChainWork& work,
                      std::int8_t* out) {
  for (std::int64_t i = 0; plan.x && i < run.count; ++i) work.values[i] = plan.x[run.first + i];
  quantize_block(plan, plan.counts()[chunk], run, work, out);
}

std::uint32_t largest_magnitude(const float* values, std::int64_t count) {
  if (active_isa() == Isa::avx512vnni) return largest_magnitude_avx512vnni(values, count);
  if (active_isa() == Isa::avx2) return largest_magnitude_avx2(values, count);
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, magnitude_bits(values[i]));
  return largest;
}

std::int64_t chain_scratch_bytes(const Chain& chain) { return plan_chain(chain).scratch_bytes; }

void run_chain(const Chain& chain, const Parallel& parallel) { run_chain(active_isa(), chain, parallel); }

namespace {

using RunChunk = void (*)(const ChainPlan&, std::int64_t);
RunChunk run_chunk_of(Isa isa) {
  return isa == Isa::avx512vnni ? run_chunk_avx512vnni : isa == Isa::avx2 ? run_chunk_avx2 : run_chunk_ref;
}

}  // namespace

void run_chain(Isa isa, const Chain& chain, const Parallel& parallel) {
  const ChainPlan plan = plan_chain(chain);
  const RunChunk run_chunk = run_chunk_of(isa);
  prepare_chain(plan);
  parallel(plan.chunks, [&](std::int64_t chunk) { run_chunk(plan, chunk); });
  finish_chain(plan, chain);
}

void run_product_chain(const ConvS8& product, const ConvArgs& args, const Chain& chain,
                       FunctionRef<void()> first_pixel, const Parallel& parallel) {
  const ChainPlan plan = plan_chain(chain);
  const RunChunk run_chunk = run_chunk_of(active_isa());
  const auto border = [&plan](std::int64_t chunk) { return chunk_first_pixel(plan, chunk); };
  const auto begin = [&] {
    first_pixel();
    prepare_chain(plan);
  };
  const auto written = [&](std::int64_t chunk) { run_chunk(plan, chunk); };
  const ResultParts parts{plan.chunks, border, begin, written};
  if (plan.chunks >= least_parts && product.takes_parts(args, parts)) {
    product.run_parts(args, parts, parallel);
  } else {
    product.run(args, parallel);
    begin();
    parallel(plan.chunks, written);
  }
  finish_chain(plan, chain);
}

}  // namespace octavo::kernels
