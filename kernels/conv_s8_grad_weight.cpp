// grad_weight of the tiled integer convolution: X as planes and G as quads share one linear pixel index, so
// that the contraction is one long loop over the pixels of all samples, cut into blocks that fit int32. Rows
// of the result are (tap, input channel) in the order of W. What blocks, planes and scale classes add is
// joined in int64, in as many accumulators as that takes.
#include <algorithm>
#include <array>

#include "conv_s8_outer.h"
#include "grad_weight_taps.h"
#include "grad_weight_tasks.h"
#include "pixel_blocks.h"
#include "sum_levels.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// One tile of the result.
struct Place {
  std::int64_t group, panel;
  RowTile rows;
};

/// The int64 accumulators of one tile, `stride` elements apart: levels of even classes, then those of odd
/// ones.
struct Accumulators {
  std::int64_t* first;
  std::int64_t stride;
  std::int64_t* at(std::int64_t index) const { return first + index * stride; }
};
constexpr std::int64_t most_accumulators = 2 * SumLevels::most;

/// One run: its arguments, its blocks, and what lies where in the scratch (bytes): corrections, class tables,
/// sums of the parts, gathered panels.
struct Run {
  const ConvArgs& args;
  PixelSchedule schedule;
  SumLevels levels;
  std::int64_t accumulators, blocks;  // blocks with room for their corrections
  std::int64_t schedule_at, sums_at, gathered_at, bytes;
  bool sums_inside;  // of a task (InsideSums), none in the scratch
  std::int64_t pairs() const { return args.a_planes * args.b_planes; }
  /// Which accumulator takes a block's product of the planes i and j, i + j = `planes`, and how far shifted.
  std::int64_t accumulator(const PixelBlock& block, std::int64_t planes) const {
    return (block.odd ? levels.count : 0) + (block.shift + 8 * planes) / levels.width;
  }
  int shift(const PixelBlock& block, std::int64_t planes) const {
    return static_cast<int>((block.shift + 8 * planes) % levels.width);
  }
  bool reaches(std::int64_t part, std::int64_t index) const;
};

/// What stands for 0 in X times the sums of a block's columns, from the first tile of a task that meets it.
struct InsideSums {
  std::int64_t block = -1;
  std::int32_t correction[ConvIsa::widest];
};

class GradWeight final : public ConvS8 {
 public:
  GradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b);
  std::int64_t scratch_bytes(const ConvArgs& args) const override {
    return lay_out(args, args.sample_class ? most_sample_class / 2 : 0, args.sample_class != nullptr).bytes;
  }
  void run(const ConvArgs& args, const Parallel& parallel) const override;

 private:
  std::int64_t count(const auto& list) const { return static_cast<std::int64_t>(list.size()); }
  std::int64_t part_sums() const { return shape_.groups * columns_ * rows_; }
  /// Gathered panels hold a sample in as many bytes as the widest panel needs, so that one table serves all.
  std::int64_t gathered_segment() const { return b_.plane * panels_.front().width; }
  std::int64_t gathered_bytes() const {
    return shape_.groups * count(panels_) * shape_.n * gathered_segment();
  }
  /// All pixels of a panel of B stay in the L2 cache: tiles take block after block and become results at
  /// once.
  bool direct() const { return pixels_.plain_count() == 1; }
  const ConvPanel& panel(std::int64_t index) const { return panels_[static_cast<std::size_t>(index)]; }
  const RowTile& row_tile(std::int64_t index) const { return row_tiles_[static_cast<std::size_t>(index)]; }
  /// Of the first tap; those of others, where they differ, follow.
  std::int32_t* correction(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block) const {
    return static_cast<std::int32_t*>(run.args.scratch) +
           ((plane * shape_.groups + group) * run.blocks + block) * corrections_ * columns_;
  }
  Accumulators sums(const Run& run, std::int64_t part, const Place& place) const {
    auto* first = reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(run.args.scratch) + run.sums_at);
    const ConvPanel& p = panel(place.panel);
    return {first + part * run.accumulators * part_sums() + (place.group * columns_ + p.begin) * rows_ +
                place.rows.begin * p.width,
            part_sums()};
  }

  std::int64_t first_result(const Place& place) const {
    return (place.group * outputs_ + panel(place.panel).begin) * rows_ + place.rows.begin;
  }

  /// What stands for 0 in X times a sum of G, modulo 2^32.
  std::int32_t times_zero(std::int32_t sum) const {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) * a_.zero);
  }
  Run lay_out(const ConvArgs& args, int most_octave, bool odd) const;
  const std::int8_t* viewed(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel) const;
  std::int8_t* gathered(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel) const;
  ConvTile block_tile(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel,
                      const PixelBlock& block) const;
  void sum_columns(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block,
                   std::int64_t panel) const;
  std::int64_t shortest_tile(const GradWeightTask& task) const {
    const auto shorter = [](const RowTile& a, const RowTile& b) { return a.rows < b.rows; };
    const auto first = row_tiles_.begin();
    return std::min_element(first + task.tile_begin, first + task.tile_end, shorter) - first;
  }
  void for_tiles(const GradWeightTask& task, FunctionRef<void(const Place&)> body) const;
  void run_task(const GradWeightTask& task, const Run& run) const;
  void fetch_results(const Place& place, const Run& run) const;
  void run_tile(const Place& place, std::int64_t part, std::int64_t begin, std::int64_t end, bool first,
                const Run& run, InsideSums& inside) const;
  void run_terms(const Place& place, std::int64_t part, std::int64_t begin, std::int64_t end, bool first,
                 const Run& run) const;
  const std::int32_t* multiply(const Place& place, std::int64_t block, std::int64_t a_plane,
                               std::int64_t b_plane, const Run& run, std::int32_t* acc,
                               InsideSums& inside) const;
  void join(const Place& place, const Run& run) const;
  void finish(const Place& place, const Accumulators& sums, const std::int32_t* acc,
              const std::int32_t* correction, const Run& run) const;
  void finish_levels(const Place& place, const Accumulators& sums, const Run& run) const;

  const ConvIsa& isa_;
  ConvShape shape_;
  View a_, b_;
  std::int64_t inputs_, outputs_, columns_, rows_;  // per group; rows_ = taps * inputs_
  bool masked_;                                     // has_masked_taps()
  MaskedTaps taps_;                                 // of these
  std::int64_t corrections_;                        // of a column: one, or one for each tap
  std::vector<ConvPanel> panels_;
  PixelBlocks pixels_;
  std::vector<RowTile> row_tiles_;
  std::vector<std::int64_t> row_offsets_;  // from the group's first plane to the pixel that a tap reads first
  std::vector<GradWeightTask> tasks_;
  std::int64_t parts_ = 1;
  bool gather_ = false;  // many tiles read each panel of B: it is first made contiguous, to spare the TLB
  bool sums_inside_ = false;  // few do: the first of a task takes the sums of the columns in one row more
};

GradWeight::GradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b)
    : isa_(isa),
      shape_(shape),
      a_(a),
      b_(b),
      inputs_(shape.c / shape.groups),
      outputs_(shape.k / shape.groups),
      masked_(has_masked_taps(shape)),
      taps_(masked_ ? MaskedTaps(shape, a, b) : MaskedTaps()),
      corrections_(masked_ ? shape.r * shape.s : 1),
      pixels_(shape.n, b.plane / 4, shape.ho * shape.wo) {
  panels_ = conv_panels(isa, outputs_);
  columns_ = panels_.back().begin + panels_.back().width;
  rows_ = shape.r * shape.s * inputs_;
  const std::int64_t phases = a.phase_h * a.phase_w;
  for (std::int64_t r = 0; r < shape.r; ++r)
    for (std::int64_t s = 0; s < shape.s; ++s)
      for (std::int64_t c = 0; c < inputs_; ++c) {
        const std::int64_t i = r * shape.dilation_h, j = s * shape.dilation_w;
        const std::int64_t phase = i % a.phase_h * a.phase_w + j % a.phase_w;
        const std::int64_t tap = phase * a.plane + i / a.phase_h * a.pitch + j / a.phase_w;
        row_offsets_.push_back(c * phases * a.plane + (masked_ ? taps_.x_offset(r * shape.s + s) : tap));
      }
  row_tiles_ = make_row_tiles(shape.r * shape.s, inputs_, isa.max_rows[panels_.front().width == 32]);
  tasks_ = make_tasks(shape.groups, count(panels_), count(row_tiles_), pixels_.plain_count(), parts_);
  const auto has_room = [&](const GradWeightTask& task) {
    const auto rows = static_cast<std::size_t>(row_tile(shortest_tile(task)).rows);
    return isa.tiles[panel(task.panel).width == 32]->summed[rows] != nullptr;
  };
  constexpr std::int64_t few_tiles = 16;
  sums_inside_ =
      !masked_ && count(row_tiles_) <= few_tiles && std::all_of(tasks_.begin(), tasks_.end(), has_room);
  gather_ = !sums_inside_ && count(row_tiles_) >= 8 && b.channel_pitch > panels_.front().width;
  pixels_.set_parts(parts_, a.c * phases * a.plane, gather_ ? gathered_segment() : b.plane * b.channel_pitch);
}

Run GradWeight::lay_out(const ConvArgs& args, int most_octave, bool odd) const {
  Run run{.args = args, .schedule = pixels_.plain()};
  run.blocks = pixels_.most_blocks(args.sample_class != nullptr);
  run.levels =
      SumLevels::of(shape_.n * shape_.ho * shape_.wo, run.blocks, args.a_planes, args.b_planes, most_octave);
  run.accumulators = run.levels.count * (odd ? 2 : 1);
  run.sums_inside = sums_inside_ && run.pairs() == 1 && !(direct() && args.sample_class);
  const std::int64_t corrections =
      run.sums_inside ? 0 : args.b_planes * shape_.groups * run.blocks * corrections_ * columns_;
  run.schedule_at = round_up(corrections * 4, 64);
  run.sums_at = run.schedule_at + (args.sample_class ? round_up(pixels_.class_bytes(), 64) : 0);
  run.gathered_at = run.sums_at + (direct() ? 0 : parts_ * run.accumulators * part_sums() * 8);
  run.bytes = run.gathered_at + (gather_ ? args.b_planes * gathered_bytes() : 0);
  return run;
}

/// A panel of B in its view, and where it is gathered.
const std::int8_t* GradWeight::viewed(const Run& run, std::int64_t plane, std::int64_t group,
                                      std::int64_t panel) const {
  return static_cast<const std::int8_t*>(run.args.b) + plane * plane_stride(b_) +
         (group * outputs_ + panels_[static_cast<std::size_t>(panel)].begin) * 4;
}
std::int8_t* GradWeight::gathered(const Run& run, std::int64_t plane, std::int64_t group,
                                  std::int64_t panel) const {
  return static_cast<std::int8_t*>(run.args.scratch) + run.gathered_at + plane * gathered_bytes() +
         (group * count(panels_) + panel) * shape_.n * gathered_segment();
}

/// Everything of a block's tile but its rows and results.
ConvTile GradWeight::block_tile(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel,
                                const PixelBlock& block) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  const std::int64_t pitch = gather_ ? p.width : b_.channel_pitch;
  const std::int8_t* b = gather_ ? gathered(run, plane, group, panel) : viewed(run, plane, group, panel);
  return {.a = nullptr,
          .rows = nullptr,
          .b = b + block.quad * 4 * pitch,
          .b_step = pitch * 4,
          .offsets = run.schedule.a_offsets + block.first,
          .b_offsets = run.schedule.b_offsets + block.first,
          .shifts = run.schedule.shifts ? run.schedule.shifts + block.first : nullptr,
          .masks = nullptr,
          .segments = block.samples,
          .steps = block.quads,
          .scattered = true,
          .acc = nullptr};
}

/// What stands for 0 in X times the sum of G over the block, modulo 2^32; gathers the panel.
void GradWeight::sum_columns(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block,
                             std::int64_t panel) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  const PixelBlock& b = run.schedule.blocks[block];
  std::int32_t* sums = correction(run, plane, group, block) + p.begin;
  isa_.column_sums({.b = viewed(run, plane, group, panel) + b.quad * 4 * b_.channel_pitch,
                    .b_step = b_.channel_pitch * 4,
                    .b_segment = b_.plane * b_.channel_pitch,
                    .index = run.schedule.order + b.first,
                    .shifts = run.schedule.shifts ? run.schedule.shifts + b.first : nullptr,
                    .segments = b.samples,
                    .steps = b.quads,
                    .columns = p.width,
                    .copy = gather_ ? gathered(run, plane, group, panel) + b.quad * 4 * p.width : nullptr,
                    .copy_segment = gathered_segment(),
                    .holes = masked_ ? &taps_.holes() : nullptr,
                    .acc_pitch = columns_,
                    .acc = sums});
  for (std::int64_t tap = 0; tap < corrections_; ++tap, sums += columns_)
    for (std::int64_t j = 0; j < p.width; ++j) sums[j] = times_zero(sums[j]);
}

void GradWeight::run(const ConvArgs& args, const Parallel& parallel) const {
  PixelSchedule schedule = pixels_.plain();
  if (args.sample_class) {
    const std::int64_t at = lay_out(args, 0, false).schedule_at;
    schedule = pixels_.by_class(args.sample_class, static_cast<std::uint8_t*>(args.scratch) + at);
  }
  Run run = lay_out(args, schedule.most_octave, schedule.odd);
  run.schedule = schedule;
  const std::int64_t panels = count(panels_), tiles = count(row_tiles_), groups = shape_.groups;
  const std::int64_t blocks = schedule.part_begin[parts_];
  const std::int64_t sums = run.sums_inside ? 0 : args.b_planes * groups * blocks * panels;
  parallel(sums, [&](std::int64_t item) {
    sum_columns(run, item / panels / blocks / groups, item / panels / blocks % groups, item / panels % blocks,
                item % panels);
  });
  parallel(count(tasks_), [&](std::int64_t task) { run_task(tasks_[static_cast<std::size_t>(task)], run); });
  if (direct()) return;
  const std::int64_t pieces = std::min<std::int64_t>(tiles, 16);
  parallel(groups * panels * pieces, [&](std::int64_t item) {
    const std::int64_t piece = item % pieces;
    for (std::int64_t t = tiles * piece / pieces; t < tiles * (piece + 1) / pieces; ++t)
      join({item / pieces / panels, item / pieces % panels, row_tile(t)}, run);
  });
}

/// The shortest tile first, which may have room for the sums of the columns.
void GradWeight::for_tiles(const GradWeightTask& task, FunctionRef<void(const Place&)> body) const {
  const std::int64_t shortest = shortest_tile(task);
  body({task.group, task.panel, row_tile(shortest)});
  for (std::int64_t t = task.tile_begin; t < task.tile_end; ++t)
    if (t != shortest) body({task.group, task.panel, row_tile(t)});
}

void GradWeight::run_task(const GradWeightTask& task, const Run& run) const {
  const std::int64_t begin = run.schedule.part_begin[task.part], end = run.schedule.part_begin[task.part + 1];
  InsideSums inside;
  if (direct())
    return for_tiles(task,
                     [&](const Place& place) { run_tile(place, task.part, begin, end, true, run, inside); });
  // An accumulator starts with the first block that reaches it; join() leaves out what no block reaches.
  bool begun[most_accumulators] = {};
  for (std::int64_t block = begin; block < end; ++block) {
    const std::int64_t index = run.accumulator(run.schedule.blocks[block], 0);
    for_tiles(task, [&](const Place& place) {
      run_tile(place, task.part, block, block + 1, !begun[index], run, inside);
    });
    if (run.pairs() > 1)
      std::fill_n(begun, run.accumulators, true);
    else
      begun[index] = true;
  }
}

/// The int32 sums of one block and one pair of planes; answers their correction.
const std::int32_t* GradWeight::multiply(const Place& place, std::int64_t block, std::int64_t a_plane,
                                         std::int64_t b_plane, const Run& run, std::int32_t* acc,
                                         InsideSums& inside) const {
  const PixelBlock& b = run.schedule.blocks[block];
  const std::int64_t plane_bytes = a_.phase_h * a_.phase_w * a_.plane;
  const auto* x = static_cast<const std::uint8_t*>(run.args.a) + a_plane * plane_stride(a_) +
                  place.group * inputs_ * plane_bytes + b.quad * 4;
  ConvTile tile = block_tile(run, b_plane, place.group, place.panel, b);
  tile.a = x;
  tile.rows = row_offsets_.data() + place.rows.begin;
  tile.acc = acc;
  const ConvPanel& p = panel(place.panel);
  const ConvTiles& tiles = *isa_.tiles[isa_.tile_index(p.width, p.columns(outputs_))];
  const auto rows = static_cast<std::size_t>(place.rows.rows);
  if (run.sums_inside) {
    const bool known = inside.block == block;
    (known ? tiles.sums : tiles.summed)[rows](tile);
    for (std::int64_t j = 0; !known && j < p.width; ++j)
      inside.correction[j] = times_zero(acc[place.rows.rows * p.width + j]);
    inside.block = block;
    return inside.correction;
  }
  const std::int32_t* const sums = correction(run, b_plane, place.group, block) + p.begin;
  if (masked_) {
    const std::int64_t index = place.rows.begin / inputs_;
    const MaskedTaps::Tap tap = taps_.tap(index);
    tile.a += tap.first * 4;
    tile.b += tap.first * tile.b_step;
    tile.steps = tap.quads;
    tile.masks = tap.masks;
    (tap.masks ? tiles.masked : tiles.sums)[rows](tile);
    return sums + index * columns_;
  }
  tiles.sums[rows](tile);
  return sums;
}

/// Asks for the lines that a tile will write: each of its columns lies elsewhere.
void GradWeight::fetch_results(const Place& place, const Run& run) const {
  const std::int64_t columns = panel(place.panel).columns(outputs_);
  const float* out = run.args.out.as<float>() + first_result(place);
  for (std::int64_t j = 0; j < columns; ++j, out += rows_) {
    __builtin_prefetch(out, 1);
    __builtin_prefetch(out + place.rows.rows - 1, 1);
  }
}

/// Blocks [begin, end) of one tile: to results when `direct`, else to the sums of the part, which they start
/// when `first`.
void GradWeight::run_tile(const Place& place, std::int64_t part, std::int64_t begin, std::int64_t end,
                          bool first, const Run& run, InsideSums& inside) const {
  const PixelBlock& block = run.schedule.blocks[begin];
  if (run.pairs() > 1 || end - begin > 1 || (direct() && (block.shift > 0 || block.odd)))
    return run_terms(place, part, begin, end, first, run);
  alignas(64) std::int32_t acc[ConvIsa::most_elements];
  if (direct() && run.args.out) fetch_results(place, run);
  const std::int32_t* block_correction = multiply(place, begin, 0, 0, run, acc, inside);
  if (direct()) return finish(place, {}, acc, block_correction, run);
  isa_.add_sums(sums(run, part, place).at(run.accumulator(block, 0)), acc, block_correction, place.rows.rows,
                panel(place.panel).width, run.shift(block, 0), first);
}

/// The same for several blocks or pairs of planes: their sums are joined in the L1 cache.
[[gnu::noinline]] void GradWeight::run_terms(const Place& place, std::int64_t part, std::int64_t begin,
                                             std::int64_t end, bool first, const Run& run) const {
  alignas(64) std::int32_t acc[ConvIsa::most_elements];
  alignas(64) std::int64_t local[most_accumulators * ConvIsa::most_elements];
  const Accumulators joined{local, ConvIsa::most_elements};
  const std::int64_t width = panel(place.panel).width, elements = place.rows.rows * width;
  bool seen[most_accumulators] = {};
  InsideSums none;
  for (std::int64_t b = begin; b < end; ++b)
    for (std::int64_t j = 0; j < run.args.b_planes; ++j)
      for (std::int64_t i = 0; i < run.args.a_planes; ++i) {
        const PixelBlock& block = run.schedule.blocks[b];
        const std::int64_t index = run.accumulator(block, i + j);
        const std::int32_t* block_correction = multiply(place, b, i, j, run, acc, none);
        isa_.add_sums(joined.at(index), acc, block_correction, place.rows.rows, width,
                      run.shift(block, i + j), !seen[index]);
        seen[index] = true;
      }
  for (std::int64_t index = 0; index < run.accumulators; ++index)
    if (!seen[index]) std::fill_n(joined.at(index), elements, 0);
  if (direct()) return finish(place, joined, nullptr, nullptr, run);
  const Accumulators totals = sums(run, part, place);
  for (std::int64_t index = 0; index < run.accumulators; ++index)
    for (std::int64_t i = 0; i < elements; ++i)
      totals.at(index)[i] = wrapping_add(first ? 0 : totals.at(index)[i], joined.at(index)[i]);
}

/// Whether some block of a part reaches an accumulator.
bool Run::reaches(std::int64_t part, std::int64_t index) const {
  const std::int64_t begin = schedule.part_begin[part], end = schedule.part_begin[part + 1];
  if (pairs() > 1) return begin < end;  // every block starts them all
  return std::any_of(schedule.blocks + begin, schedule.blocks + end,
                     [&](const PixelBlock& block) { return accumulator(block, 0) == index; });
}

/// Adds what the other parts hold to the accumulators of part 0.
void GradWeight::join(const Place& place, const Run& run) const {
  const std::int64_t elements = place.rows.rows * panel(place.panel).width;
  const Accumulators total = sums(run, 0, place);
  for (std::int64_t index = 0; index < run.accumulators; ++index) {
    if (!run.reaches(0, index)) std::fill_n(total.at(index), elements, 0);
    for (std::int64_t part = 1; part < parts_; ++part) {
      if (!run.reaches(part, index)) continue;
      const std::int64_t* more = sums(run, part, place).at(index);
      for (std::int64_t i = 0; i < elements; ++i)
        total.at(index)[i] = wrapping_add(total.at(index)[i], more[i]);
    }
  }
  finish(place, total, nullptr, nullptr, run);
}

/// The rare case of sums that int64 cannot hold.
void GradWeight::finish_levels(const Place& place, const Accumulators& sums, const Run& run) const {
  const ConvPanel& p = panel(place.panel);
  for (std::int64_t j = 0; j < p.columns(outputs_); ++j)
    for (std::int64_t i = 0; i < place.rows.rows; ++i) {
      const std::int64_t row = place.rows.begin + i, k = place.group * outputs_ + p.begin + j;
      const std::int64_t at = i * p.width + j, index = k * rows_ + row;
      ClassSums<Int128> both{run.levels.total(sums.at(0) + at, sums.stride)};
      if (run.accumulators > run.levels.count)
        both.odd = run.levels.total(sums.at(run.levels.count) + at, sums.stride);
      store_sum(run.args, index, shape_.k * rows_ + index, both, place.group * inputs_ + row % inputs_, k);
    }
}

/// Results from int64 sums, or from acc.
void GradWeight::finish(const Place& place, const Accumulators& sums, const std::int32_t* acc,
                        const std::int32_t* correction, const Run& run) const {
  if (sums.first && run.levels.count > 1) return finish_levels(place, sums, run);
  const ConvArgs& args = run.args;
  const ConvPanel& p = panel(place.panel);
  float a_scale[ConvIsa::most_rows];
  if (args.a_scale_vector)
    for (std::int64_t i = 0; i < place.rows.rows; ++i)
      a_scale[i] = args.a_scale[place.group * inputs_ + (place.rows.begin + i) % inputs_];
  const std::int64_t column = place.group * outputs_ + p.begin, first = first_result(place);
  std::int64_t* integers = args.integers ? args.integers + first : nullptr;
  isa_.finish_columns(
      {.sums = sums.first,
       .odd = sums.first && run.accumulators == 2 ? sums.at(1) : nullptr,
       .acc = acc,
       .correction = correction,
       .rows = place.rows.rows,
       .pitch = p.width,
       .columns = p.columns(outputs_),
       .out_pitch = rows_,
       .a_scale = args.a_scale_vector ? a_scale : args.a_scale,
       .b_scale = args.b_scale_vector ? args.b_scale + column : args.b_scale,
       .a_scale_vector = args.a_scale_vector,
       .b_scale_vector = args.b_scale_vector,
       .out = args.out ? args.out.as<float>() + first : nullptr,
       .accumulate = args.accumulate,
       .integers = integers,
       .odd_integers = integers && args.sample_class ? integers + shape_.k * rows_ : nullptr});
}

}  // namespace

std::unique_ptr<ConvS8> make_grad_weight(const ConvIsa& isa, const ConvShape& shape, const View& a,
                                         const View& b) {
  auto general = std::make_unique<GradWeight>(isa, shape, a, b);
  return is_outer(isa, shape, b) ? make_outer(isa, shape, a, b, std::move(general)) : std::move(general);
}

}  // namespace octavo::kernels
