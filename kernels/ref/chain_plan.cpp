// Tiles, chunks and working memory of a chain; what happens before the first chunk and after the last.
#include "chain_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace octavo::kernels {
namespace {

constexpr std::int64_t chunk_floats = 32768;  // at least so much work in a chunk
constexpr std::int64_t max_chunks = 64;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }
std::int64_t align(std::int64_t bytes) { return round_up(bytes, 64); }

/// Vectors of 16 floats should divide the lanes.
std::int64_t lane_floats(std::int64_t c) {
  if (c >= 128) return c;
  return c * round_up(ceil_div(128, c), 16 / std::gcd(c, std::int64_t{16}));
}

/// Four neighbouring pixels of a `quads` view must not be shared by two chunks: borders of units are
/// multiples of four pixels from the start of a row, or of four rows.
void cut_tiles(ChainPlan& plan) {
  const std::int64_t line = plan.w * plan.c;
  plan.columns = plan.w;
  plan.rows = std::min(plan.h, chain_tile_elements / std::max<std::int64_t>(line, 1));
  if (plan.rows == 0) {
    const std::int64_t pixels = std::max<std::int64_t>(1, chain_tile_elements / plan.c);
    plan.rows = 1;
    plan.columns = std::min(plan.w, pixels >= 16  ? pixels / 16 * 16
                                    : pixels >= 4 ? pixels / 4 * 4
                                    : pixels >= 2 ? 2
                                                  : 1);
  } else if (plan.rows < plan.h) {
    plan.rows = plan.rows >= 4 ? plan.rows / 4 * 4 : plan.rows == 3 ? 2 : plan.rows;
    if (plan.rows >= 4) plan.rows = round_up(ceil_div(plan.h, ceil_div(plan.h, plan.rows)), 4);
  }
  plan.segments = ceil_div(plan.w, plan.columns);
  plan.tiles = ceil_div(plan.h, plan.rows) * plan.segments;
  if (plan.h == 1)
    plan.tiles_in_unit = plan.columns >= 4 ? 1 : 4 / plan.columns;
  else
    plan.tiles_in_unit = (plan.rows >= 4 ? 1 : 4 / plan.rows) * plan.segments;
  plan.units = ceil_div(plan.tiles, plan.tiles_in_unit);
  const std::int64_t size = plan.n * plan.h * line;
  plan.chunks = std::clamp<std::int64_t>(size / chunk_floats, 1, std::min(max_chunks, plan.n * plan.units));
  plan.tile_elements = plan.rows * plan.columns * plan.c;
  plan.block = std::max<std::int64_t>(1, chain_block_floats / plan.period) * plan.period;
}

std::int64_t table_entries(const View& view) {
  if (view.layout == Layout::planes) return view.phase_h * view.phase_w * view.plane;
  return view.layout == Layout::quads ? view.plane : 0;
}

void place_scratch(ChainPlan& plan) {
  std::int64_t at = 0;
  const auto take = [&at](std::int64_t bytes) {
    const std::int64_t start = at;
    at += align(bytes);
    return start;
  };
  plan.counts_at = take(plan.chunks * static_cast<std::int64_t>(sizeof(ChunkCounts)));
  plan.sums_at = take(plan.want_sums ? plan.chunks * 2 * plan.c * 8 : 0);
  const bool by_channel = plan.max_granularity == Granularity::channel;
  plan.channel_max_at = take(plan.want_max && by_channel ? plan.chunks * plan.vector_pitch() * 4 : 0);
  plan.tile_max_at = take(plan.want_max && !by_channel ? plan.n * plan.max_pitch() * 4 : 0);
  plan.vectors_at = take((plan.step_count * 3 + 1) * plan.vector_pitch() * 4);
  plan.tables_at = at;
  for (std::int64_t i = 0; i < plan.view_count; ++i) take(table_entries(plan.views[i]) * 4);
  plan.work_at = at;
  // In the order of ChainWork.
  const int planes = plan.quantize != nullptr ? plan.quantize->planes : 1;
  const std::int64_t work = 2 * align(plan.block * 4) + planes * plan.integer_pitch +
                            align(plan.block * 2 + 256) + align(plan.block / 8 + 16) +
                            2 * align(plan.lanes * 4);
  plan.work_bytes = work > chain_stack_bytes ? work : 0;
  at += plan.work_bytes * plan.chunks;
  plan.scratch_bytes = at + 64;
}

void repeat_vector(const ChainPlan& plan, const float* vector, float missing, float* out) {
  const std::int64_t size = plan.vector_pitch();
  if (vector == nullptr) {
    std::fill(out, out + size, missing);
    return;
  }
  for (std::int64_t first = 0; first < size; first += plan.c)
    std::copy(vector, vector + std::min(plan.c, size - first), out + first);
}

void repeat_vectors(const ChainPlan& plan, std::int64_t index) {
  const Step& step = plan.steps[index];
  const StepKind kind = step.kind;
  const bool scales =
      kind == StepKind::scale_shift || kind == StepKind::keep_where || kind == StepKind::combine;
  if (scales) repeat_vector(plan, step.a, 1.0f, plan.vector(index, 0));
  if (scales || kind == StepKind::sums) repeat_vector(plan, step.b, 0.0f, plan.vector(index, 1));
  if (kind == StepKind::combine) repeat_vector(plan, step.d, 0.0f, plan.vector(index, 2));
}

/// One phase of one plane, row by row; rows and columns outside the image stay 0.
void fill_phase(const ChainPlan& plan, const View& view, std::int64_t a, std::int64_t b,
                std::int32_t* table) {
  const bool planes = view.layout == Layout::planes;
  const std::int64_t ph = planes ? view.phase_h : 1, pw = planes ? view.phase_w : 1;
  const std::int64_t top = planes ? view.top : 0, left = planes ? view.left : 0;
  const std::int64_t begin = std::max<std::int64_t>(0, ceil_div(left - b, pw));  // first column of the image
  const std::int64_t end = std::min(view.pitch, ceil_div(plan.w + left - b, pw));
  std::fill(table, table + view.plane, 0);
  for (std::int64_t first = 0, u = 0; first < view.plane; first += view.pitch, ++u) {
    const std::int64_t i = u * ph + a - top;
    if (i < 0 || i >= plan.h) continue;
    const std::int64_t last = std::min(end, view.plane - first);
    for (std::int64_t v = begin; v < last; ++v) {
      const std::int64_t j = v * pw + b - left;
      const std::int64_t pixel = plan.segments > 1 ? j % plan.columns : i % plan.rows * plan.w + j;
      table[first + v] = static_cast<std::int32_t>(plan.zero_bytes + pixel * plan.c);
    }
  }
}

void fill_table(const ChainPlan& plan, const View& view, std::int32_t* table) {
  const bool planes = view.layout == Layout::planes;
  const std::int64_t ph = planes ? view.phase_h : 1, pw = planes ? view.phase_w : 1;
  for (std::int64_t a = 0; a < ph; ++a)
    for (std::int64_t b = 0; b < pw; ++b) fill_phase(plan, view, a, b, table + (a * pw + b) * view.plane);
}

/// Bytes of a bit tensor that two blocks share are joined by OR, from zero.
void clear_shared_bytes(const ChainPlan& plan, std::uint8_t* bits) {
  if (plan.c % 8 == 0) return;  // then no two share one
  const std::int64_t size = plan.n * plan.h * plan.w * plan.c;
  if (size % 8 != 0) bits[size / 8] = 0;
  for (std::int64_t sample = 0; sample < plan.n; ++sample)
    for (std::int64_t index = 0; index < plan.tiles; ++index)
      for_blocks(plan, chain_tile(plan, sample, index), [bits](const ChainTile& block, std::int64_t) {
        if (block.first % 8 != 0) bits[block.first / 8] = 0;
      });
}

void merge_max(const ChainPlan& plan, std::uint32_t* out) {
  if (plan.max_granularity == Granularity::channel) {
    for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk)
      for (std::int64_t i = 0; i < plan.vector_pitch(); ++i)
        out[i % plan.c] = std::max(out[i % plan.c], plan.channel_max(chunk)[i]);
    return;
  }
  const bool by_sample = plan.max_granularity == Granularity::sample;
  for (std::int64_t sample = 0; sample < plan.n; ++sample) {
    std::uint32_t& value = out[by_sample ? sample : 0];
    for (std::int64_t i = 0; i < plan.tiles; ++i) value = std::max(value, plan.tile_max(sample)[i]);
  }
}

void merge_sums(const ChainPlan& plan, int which, double* out) {
  if (out == nullptr) return;
  std::fill(out, out + plan.c, 0.0);
  for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk)
    for (std::int64_t i = 0; i < plan.c; ++i) out[i] += plan.sums(chunk)[which * plan.c + i];
}

void check_quantize(const Quantize& q) {
  if (q.planes < 1 || q.planes > most_planes)
    throw std::logic_error("quantize: " + std::to_string(q.planes) + " planes; there are 1 to 3");
  const int qmax = static_cast<int>(q.qmax);
  if (q.grid == Grid::odd && (q.planes < 2 || qmax % 2 == 0))
    throw std::logic_error("quantize: odd integers take several planes and an odd limit");
  if (q.grid == Grid::flagged && (q.planes < 2 || qmax < 128 || qmax % 128 != 0))
    throw std::logic_error("quantize: flagged integers take several planes and a multiple of 128 as limit");
  if (q.is_unsigned && q.planes != 1) throw std::logic_error("quantize: unsigned integers have one plane");
  for (const View& view : q.views) {
    if (view.zero != (q.is_unsigned ? 0 : 128))
      throw std::logic_error("quantize: a view takes byte " + std::to_string(view.zero) + " for 0");
    if (view.layout == Layout::pixels || view.layout == Layout::batch)
      throw std::logic_error("quantize: a view in a layout of the GPU");
  }
  if (!(q.qmax >= 0 && q.qmax <= static_cast<float>(q.is_unsigned ? 255 : largest_integer(q.planes))))
    throw std::logic_error("quantize: integers up to " + std::to_string(q.qmax) + " need more than " +
                           std::to_string(q.planes) + " planes");
}

}  // namespace

void QuantizeStats::merge(const QuantizeStats& other) {
  max_bits = std::max(max_bits, other.max_bits);
  saturated += other.saturated;
  sum_square += other.sum_square;
}

ChainPlan plan_chain(const Chain& chain) {
  if (chain.quantize != nullptr) check_quantize(*chain.quantize);
  ChainPlan plan{};
  plan.n = chain.n, plan.h = chain.h, plan.w = chain.w, plan.c = chain.c;
  plan.x = chain.x;
  plan.steps = chain.steps.data();
  plan.step_count = static_cast<std::int64_t>(chain.steps.size());
  plan.quantize = chain.quantize;
  if (chain.quantize != nullptr) {
    plan.views = chain.quantize->views.data();
    plan.targets = chain.quantize->targets.data();
    plan.view_count = static_cast<std::int64_t>(chain.quantize->views.size());
  }
  plan.want_max = chain.want_max;
  plan.max_granularity = chain.max_granularity;
  for (const Step& step : chain.steps) plan.want_sums |= step.kind == StepKind::sums;
  plan.lanes = lane_floats(plan.c);
  plan.period = round_up(512, plan.lanes);  // inner loops should be long
  plan.zero_bytes = align(plan.c + chain_slack);
  cut_tiles(plan);
  plan.integer_pitch = align(plan.zero_bytes + plan.tile_elements + chain_slack);
  place_scratch(plan);
  plan.scratch = static_cast<char*>(chain.scratch);
  if (plan.scratch != nullptr) {
    const auto address = reinterpret_cast<std::uintptr_t>(plan.scratch);
    plan.scratch += (64 - address % 64) % 64;
  }
  return plan;
}

void prepare_chain(const ChainPlan& plan) {
  std::memset(plan.scratch, 0, static_cast<std::size_t>(plan.vectors_at));
  for (std::int64_t i = 0; i < plan.step_count; ++i) {
    const Step& step = plan.steps[i];
    repeat_vectors(plan, i);
    if (step.kind == StepKind::store_bits) clear_shared_bytes(plan, step.bits_out);
  }
  if (plan.quantize != nullptr && plan.quantize->granularity == Granularity::channel)
    repeat_vector(plan, plan.quantize->inverse_scale, 1.0f, plan.inverse_vector());
  for (std::int64_t i = 0; i < plan.view_count; ++i)
    if (table_entries(plan.views[i]) > 0) fill_table(plan, plan.views[i], position_table(plan, i));
}

void finish_chain(const ChainPlan& plan, const Chain& chain) {
  if (chain.want_max) merge_max(plan, chain.max_bits);
  if (plan.want_sums) {
    merge_sums(plan, 0, chain.sum_v);
    merge_sums(plan, 1, chain.sum_vx);
  }
  for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const ChunkCounts& counts = plan.counts()[chunk];
    if (chain.stats != nullptr) chain.stats->merge({counts.max_bits, counts.saturated, counts.sum_square});
  }
}

ChainTile chain_tile(const ChainPlan& plan, std::int64_t sample, std::int64_t index) {
  ChainTile tile{};
  tile.sample = sample, tile.index = index;
  tile.row = index / plan.segments * plan.rows;
  tile.row_end = std::min(tile.row + plan.rows, plan.h);
  tile.column = index % plan.segments * plan.columns;
  tile.column_end = std::min(tile.column + plan.columns, plan.w);
  tile.first = ((sample * plan.h + tile.row) * plan.w + tile.column) * plan.c;
  tile.count = (tile.row_end - tile.row) * (tile.column_end - tile.column) * plan.c;
  return tile;
}

std::int64_t chunk_first_unit(const ChainPlan& plan, std::int64_t chunk) {
  const std::int64_t units = plan.n * plan.units;
  return units / plan.chunks * chunk + std::min(chunk, units % plan.chunks);
}

std::int64_t chunk_first_pixel(const ChainPlan& plan, std::int64_t chunk) {
  const std::int64_t unit = chunk_first_unit(plan, chunk), sample = unit / plan.units;
  if (sample == plan.n) return plan.n * plan.h * plan.w;
  return chain_tile(plan, sample, unit % plan.units * plan.tiles_in_unit).first / plan.c;
}

namespace {

/// Positions of a phase's plane that belong to the tiles before `tile`.
std::int64_t positions_before(const ChainPlan& plan, const View& view, std::int64_t phase,
                              const ChainTile& tile) {
  if (tile.index == 0) return 0;
  if (tile.index == plan.tiles) return view.plane;
  const bool planes = view.layout == Layout::planes;
  const std::int64_t ph = planes ? view.phase_h : 1, pw = planes ? view.phase_w : 1;
  const std::int64_t a = phase / pw, b = phase % pw;
  const std::int64_t y = tile.row + (planes ? view.top : 0);
  const std::int64_t x = tile.column == 0 ? 0 : tile.column + (planes ? view.left : 0);
  const std::int64_t u = y / ph;
  if (y % ph != a) return std::min(view.plane, (y % ph > a ? u + 1 : u) * view.pitch);
  return std::min(view.plane, u * view.pitch + (x <= b ? 0 : std::min(view.pitch, ceil_div(x - b, pw))));
}

}  // namespace

ChainWork::ChainWork(const ChainPlan& plan, std::int64_t chunk, char* stack) {
  char* at = plan.work_bytes > 0 ? plan.work(chunk) : stack;
  const auto take = [&at](std::int64_t bytes) {
    char* start = at;
    at += align(bytes);
    return start;
  };
  values = reinterpret_cast<float*>(take(plan.block * 4));
  other = reinterpret_cast<float*>(take(plan.block * 4));
  const int planes = plan.quantize != nullptr ? plan.quantize->planes : 1;
  char* first = take(planes * plan.integer_pitch);
  for (int plane = 0; plane < planes; ++plane)
    std::memset(first + plane * plan.integer_pitch, 0, static_cast<std::size_t>(plan.zero_bytes));
  integers = reinterpret_cast<std::int8_t*>(first) + plan.zero_bytes;
  random = reinterpret_cast<std::uint16_t*>(take(plan.block * 2 + 256)) + 32;
  bits = reinterpret_cast<std::uint8_t*>(take(plan.block / 8 + 16));
  sums = reinterpret_cast<float*>(take(2 * align(plan.lanes * 4)));
}

PlaneRange plane_range(const ChainPlan& plan, const View& view, std::int64_t phase, const ChainTile& tile) {
  ChainTile next{};
  next.index = tile.index + 1;
  if (next.index < plan.tiles) next = chain_tile(plan, tile.sample, next.index);
  return {positions_before(plan, view, phase, tile), positions_before(plan, view, phase, next)};
}

std::int32_t* position_table(const ChainPlan& plan, std::int64_t view) {
  std::int64_t at = plan.tables_at;
  for (std::int64_t i = 0; i < view; ++i) at += align(table_entries(plan.views[i]) * 4);
  return reinterpret_cast<std::int32_t*>(plan.scratch + at);
}

}  // namespace octavo::kernels
