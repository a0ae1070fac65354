// grad_weight of the tiled integer convolution: X as planes and G as quads share one linear pixel index, so
// that the contraction is one long loop over the pixels of all samples. Rows of the result are (tap, input
// channel) in the order of W; a block of pixels is short enough for int32, blocks are joined in int64.
#include <algorithm>
#include <array>

#include "conv_s8_tiled.h"
#include "sum_levels.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Quads of pixels in one block; a block of B stays in the L2 cache. A third more may occur.
constexpr std::int64_t block_quads = 2048;
static_assert(block_quads * 4 * 2 <= longest_s8_sum);

struct Block {
  std::int64_t sample, samples, quad, quads;
};

struct RowTile {
  std::int64_t begin, rows;
};

/// Where one run keeps what in its scratch, in bytes; the corrections come first.
struct ScratchPlan {
  bool direct;  // one block, one pair of planes: int32 sums become results at once
  SumLevels levels;
  std::int64_t sums_at, gathered_at, bytes;
};

/// A run: its arguments and layout.
struct Run {
  const ConvArgs& args;
  ScratchPlan layout;
};

/// Tiles [tile_begin, tile_end) of one panel over the blocks of one part.
struct Task {
  std::int64_t group, panel, tile_begin, tile_end, part;
};

class GradWeight final : public ConvS8 {
 public:
  GradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b);
  std::int64_t scratch_bytes(const ConvArgs& args) const override { return layout(args).bytes; }
  void run(const ConvArgs& args, const Parallel& parallel) const override;

 private:
  std::int64_t count(const auto& list) const { return static_cast<std::int64_t>(list.size()); }
  std::int64_t part_sums() const { return shape_.groups * columns_ * rows_; }
  std::int64_t gathered_bytes() const { return shape_.groups * columns_ * shape_.n * b_.plane; }
  ScratchPlan layout(const ConvArgs& args) const;
  std::int32_t* correction(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block) const {
    return static_cast<std::int32_t*>(run.args.scratch) +
           ((plane * shape_.groups + group) * count(blocks_) + block) * columns_;
  }
  std::int64_t* sums(const Run& run, std::int64_t part, std::int64_t level, std::int64_t group,
                     std::int64_t panel, std::int64_t row) const {
    auto* first =
        reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(run.args.scratch) + run.layout.sums_at);
    const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
    return first + (part * run.layout.levels.count + level) * part_sums() +
           (group * columns_ + p.begin) * rows_ + row * p.width;
  }
  std::int64_t part_begin(std::int64_t part) const { return count(blocks_) * part / parts_; }

  void add_blocks();
  void add_row_tiles();
  void add_tasks();
  ConvTile block_tile(const ConvArgs& args, std::int64_t plane, std::int64_t group, std::int64_t panel,
                      const Block& block) const;
  std::int8_t* gathered(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel,
                        const Block& block) const;
  void sum_columns(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block,
                   std::int64_t panel) const;
  void run_task(const Task& task, const Run& run) const;
  void run_tile(const Task& task, const RowTile& rows, std::int64_t block, std::int64_t a_plane,
                std::int64_t b_plane, const Run& run) const;
  void join(std::int64_t group, std::int64_t panel, const RowTile& rows, const Run& run) const;
  void finish(std::int64_t group, std::int64_t panel, const RowTile& rows, const std::int64_t* sums,
              const std::int32_t* acc, const std::int32_t* block_correction, const ConvArgs& args) const;
  void finish_levels(std::int64_t group, std::int64_t panel, const RowTile& rows, const std::int64_t* sums,
                     const Run& run) const;

  const ConvIsa& isa_;
  ConvShape shape_;
  View a_, b_;
  std::int64_t inputs_, outputs_, columns_, rows_;  // per group; rows_ = taps * inputs_
  std::vector<ConvPanel> panels_;
  std::vector<Block> blocks_;
  std::vector<RowTile> row_tiles_;
  std::vector<std::int64_t> row_offsets_;  // from the group's first plane to the pixel that a tap reads first
  std::vector<std::int64_t> sample_offsets_;  // of A
  std::vector<Task> tasks_;
  std::int64_t parts_ = 1;
  bool gather_ = false;  // many tiles read each panel of B: it is first made contiguous, to spare the TLB
};

GradWeight::GradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b)
    : isa_(isa),
      shape_(shape),
      a_(a),
      b_(b),
      inputs_(shape.c / shape.groups),
      outputs_(shape.k / shape.groups) {
  panels_ = conv_panels(isa, outputs_);
  columns_ = panels_.back().begin + panels_.back().width;
  rows_ = shape.r * shape.s * inputs_;
  const std::int64_t phases = a.phase_h * a.phase_w;
  for (std::int64_t r = 0; r < shape.r; ++r)
    for (std::int64_t s = 0; s < shape.s; ++s)
      for (std::int64_t c = 0; c < inputs_; ++c) {
        const std::int64_t i = r * shape.dilation_h, j = s * shape.dilation_w;
        const std::int64_t phase = i % a.phase_h * a.phase_w + j % a.phase_w;
        row_offsets_.push_back((c * phases + phase) * a.plane + i / a.phase_h * a.pitch + j / a.phase_w);
      }
  add_blocks();
  add_row_tiles();
  add_tasks();
  gather_ = count(row_tiles_) >= 8 && b.channel_pitch > panels_.front().width;
}

void GradWeight::add_blocks() {
  const std::int64_t quads = b_.plane / 4;
  if (quads > block_quads) {
    const std::int64_t pieces = ceil_div(quads, block_quads);
    for (std::int64_t n = 0; n < shape_.n; ++n)
      for (std::int64_t p = 0; p < pieces; ++p)
        blocks_.push_back({n, 1, quads * p / pieces, quads * (p + 1) / pieces - quads * p / pieces});
  } else {
    const std::int64_t pieces = ceil_div(shape_.n * quads, block_quads);
    for (std::int64_t p = 0; p < pieces; ++p) {
      const std::int64_t first = shape_.n * p / pieces, last = shape_.n * (p + 1) / pieces;
      if (last > first) blocks_.push_back({first, last - first, 0, quads});
    }
  }
  std::int64_t most_samples = 1;
  for (const Block& block : blocks_) most_samples = std::max(most_samples, block.samples);
  const std::int64_t sample_bytes = a_.c * a_.phase_h * a_.phase_w * a_.plane;
  for (std::int64_t n = 0; n < most_samples; ++n) sample_offsets_.push_back(n * sample_bytes);
}

/// Many channels: a tile is several channels at one tap, and the taps of these channels follow each other, so
/// that their planes stay in the L1 cache. Few channels: tiles run on over taps.
void GradWeight::add_row_tiles() {
  const std::int64_t most = isa_.max_rows[panels_.front().width == 32];
  const std::int64_t taps = shape_.r * shape_.s, pieces = ceil_div(inputs_, most);
  if (inputs_ >= 2 * most) {
    for (std::int64_t p = 0; p < pieces; ++p)
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        const std::int64_t first = inputs_ * p / pieces, last = inputs_ * (p + 1) / pieces;
        row_tiles_.push_back({tap * inputs_ + first, last - first});
      }
  } else {
    const std::int64_t tiles = ceil_div(rows_, most);
    for (std::int64_t t = 0; t < tiles; ++t)
      row_tiles_.push_back({rows_ * t / tiles, rows_ * (t + 1) / tiles - rows_ * t / tiles});
  }
}

void GradWeight::add_tasks() {
  constexpr std::int64_t wanted_tasks = 32, tiles_per_task = 4;
  const std::int64_t tiles = count(row_tiles_), columns = shape_.groups * count(panels_);
  const std::int64_t rows =
      std::clamp<std::int64_t>(tiles / tiles_per_task, 1, ceil_div(2 * wanted_tasks, columns));
  parts_ = std::clamp<std::int64_t>(ceil_div(wanted_tasks, columns * rows), 1, count(blocks_));
  for (std::int64_t group = 0; group < shape_.groups; ++group)
    for (std::int64_t part = 0; part < parts_; ++part)
      for (std::int64_t panel = 0; panel < count(panels_); ++panel)
        for (std::int64_t row = 0; row < rows; ++row)
          tasks_.push_back({group, panel, tiles * row / rows, tiles * (row + 1) / rows, part});
}

ScratchPlan GradWeight::layout(const ConvArgs& args) const {
  const std::int64_t b_planes = args.b_planes;
  ScratchPlan layout{};
  layout.direct = count(blocks_) == 1 && args.a_planes * args.b_planes == 1;
  layout.levels = SumLevels::of(shape_.n * shape_.ho * shape_.wo, args.a_planes, args.b_planes, 0);
  layout.sums_at = round_up(b_planes * shape_.groups * count(blocks_) * columns_ * 4, 64);
  layout.gathered_at = layout.sums_at + (layout.direct ? 0 : parts_ * layout.levels.count * part_sums() * 8);
  layout.bytes = layout.gathered_at + (gather_ ? b_planes * gathered_bytes() : 0);
  return layout;
}

/// Everything of a tile but its rows and results, with B in its view.
ConvTile GradWeight::block_tile(const ConvArgs& args, std::int64_t plane, std::int64_t group,
                                std::int64_t panel, const Block& block) const {
  const std::int64_t column = group * outputs_ + panels_[static_cast<std::size_t>(panel)].begin;
  const auto* g = static_cast<const std::int8_t*>(args.b) + plane * plane_stride(b_);
  return {.rows = nullptr,
          .b = g + (block.sample * b_.plane + block.quad * 4) * b_.channel_pitch + column * 4,
          .b_step = b_.channel_pitch * 4,
          .b_segment = b_.plane * b_.channel_pitch,
          .offsets = sample_offsets_.data(),
          .segments = block.samples,
          .steps = block.quads,
          .acc = nullptr};
}

/// Where a block of one panel lies when panels are gathered.
std::int8_t* GradWeight::gathered(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t panel,
                                  const Block& block) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  return static_cast<std::int8_t*>(run.args.scratch) + run.layout.gathered_at + plane * gathered_bytes() +
         (group * columns_ + p.begin) * shape_.n * b_.plane +
         (block.sample * b_.plane + block.quad * 4) * p.width;
}

/// 128 * sum of G over the block, modulo 2^32; gathers the panel on the way.
void GradWeight::sum_columns(const Run& run, std::int64_t plane, std::int64_t group, std::int64_t block,
                             std::int64_t panel) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  const Block& b = blocks_[static_cast<std::size_t>(block)];
  ConvTile tile = block_tile(run.args, plane, group, panel, b);
  tile.acc = correction(run, plane, group, block) + p.begin;
  isa_.column_sums(tile, p.width, gather_ ? gathered(run, plane, group, panel, b) : nullptr,
                   b_.plane * p.width);
  for (std::int64_t j = 0; j < p.width; ++j)
    tile.acc[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(tile.acc[j]) * 128U);
}

void GradWeight::run(const ConvArgs& args, const Parallel& parallel) const {
  const std::int64_t panels = count(panels_), blocks = count(blocks_), tiles = count(row_tiles_);
  const std::int64_t groups = shape_.groups;
  const Run run{args, layout(args)};
  parallel(args.b_planes * groups * blocks * panels, [&](std::int64_t item) {
    sum_columns(run, item / panels / blocks / groups, item / panels / blocks % groups, item / panels % blocks,
                item % panels);
  });
  parallel(count(tasks_), [&](std::int64_t task) { run_task(tasks_[static_cast<std::size_t>(task)], run); });
  if (run.layout.direct) return;
  const std::int64_t pieces = std::min<std::int64_t>(tiles, 16);
  parallel(groups * panels * pieces, [&](std::int64_t item) {
    const std::int64_t piece = item % pieces;
    for (std::int64_t t = tiles * piece / pieces; t < tiles * (piece + 1) / pieces; ++t)
      join(item / pieces / panels, item / pieces % panels, row_tiles_[static_cast<std::size_t>(t)], run);
  });
}

void GradWeight::run_task(const Task& task, const Run& run) const {
  const std::int64_t width = panels_[static_cast<std::size_t>(task.panel)].width;
  const std::int64_t levels = run.layout.levels.count;
  for (std::int64_t t = task.tile_begin; levels > 1 && t < task.tile_end; ++t)
    for (std::int64_t level = 0; level < levels; ++level) {
      const RowTile& rows = row_tiles_[static_cast<std::size_t>(t)];
      std::fill_n(sums(run, task.part, level, task.group, task.panel, rows.begin), rows.rows * width, 0);
    }
  for (std::int64_t block = part_begin(task.part); block < part_begin(task.part + 1); ++block)
    for (std::int64_t b_plane = 0; b_plane < run.args.b_planes; ++b_plane)
      for (std::int64_t a_plane = 0; a_plane < run.args.a_planes; ++a_plane)
        for (std::int64_t t = task.tile_begin; t < task.tile_end; ++t)
          run_tile(task, row_tiles_[static_cast<std::size_t>(t)], block, a_plane, b_plane, run);
}

void GradWeight::run_tile(const Task& task, const RowTile& rows, std::int64_t block, std::int64_t a_plane,
                          std::int64_t b_plane, const Run& run) const {
  alignas(64) std::int32_t acc[ConvIsa::most_elements];
  const Block& b = blocks_[static_cast<std::size_t>(block)];
  const std::int64_t plane_bytes = a_.phase_h * a_.phase_w * a_.plane;
  const auto* x = static_cast<const std::uint8_t*>(run.args.a) + a_plane * plane_stride(a_) +
                  (b.sample * a_.c + task.group * inputs_) * plane_bytes + b.quad * 4;
  std::array<const std::uint8_t*, ConvIsa::most_rows> pointers;
  for (std::int64_t i = 0; i < rows.rows; ++i)
    pointers[static_cast<std::size_t>(i)] = x + row_offsets_[static_cast<std::size_t>(rows.begin + i)];
  const ConvPanel& panel = panels_[static_cast<std::size_t>(task.panel)];
  ConvTile tile = block_tile(run.args, b_plane, task.group, task.panel, b);
  if (gather_) {
    tile.b = gathered(run, b_plane, task.group, task.panel, b);
    tile.b_step = panel.width * 4;
    tile.b_segment = b_.plane * panel.width;
  }
  tile.rows = pointers.data();
  tile.acc = acc;
  isa_.tiles[panel.width == 32][rows.rows](tile);
  const std::int32_t* block_correction = correction(run, b_plane, task.group, block) + panel.begin;
  if (run.layout.direct)
    return finish(task.group, task.panel, rows, nullptr, acc, block_correction, run.args);
  const std::int64_t shift = 8 * (a_plane + b_plane);
  const SumLevels& levels = run.layout.levels;
  const bool first = levels.count == 1 && shift == 0 && block == part_begin(task.part);
  isa_.add_sums(sums(run, task.part, shift / levels.width, task.group, task.panel, rows.begin), acc,
                block_correction, rows.rows, panel.width, static_cast<int>(shift % levels.width), first);
}

void GradWeight::join(std::int64_t group, std::int64_t panel, const RowTile& rows, const Run& run) const {
  const std::int64_t elements = rows.rows * panels_[static_cast<std::size_t>(panel)].width;
  for (std::int64_t level = 0; level < run.layout.levels.count; ++level) {
    std::int64_t* total = sums(run, 0, level, group, panel, rows.begin);
    for (std::int64_t part = 1; part < parts_; ++part) {
      const std::int64_t* more = sums(run, part, level, group, panel, rows.begin);
      for (std::int64_t i = 0; i < elements; ++i) total[i] = wrapping_add(total[i], more[i]);
    }
  }
  const std::int64_t* total = sums(run, 0, 0, group, panel, rows.begin);
  if (run.layout.levels.count == 1) return finish(group, panel, rows, total, nullptr, nullptr, run.args);
  finish_levels(group, panel, rows, total, run);
}

/// The rare case of sums that int64 cannot hold.
void GradWeight::finish_levels(std::int64_t group, std::int64_t panel, const RowTile& rows,
                               const std::int64_t* sums, const Run& run) const {
  const ConvArgs& args = run.args;
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  for (std::int64_t j = 0; j < p.columns(outputs_); ++j)
    for (std::int64_t i = 0; i < rows.rows; ++i) {
      const std::int64_t row = rows.begin + i, k = group * outputs_ + p.begin + j;
      store_sum(args, k * rows_ + row, run.layout.levels.total(sums + i * p.width + j, part_sums()),
                group * inputs_ + row % inputs_, k);
    }
}

void GradWeight::finish(std::int64_t group, std::int64_t panel, const RowTile& rows, const std::int64_t* sums,
                        const std::int32_t* acc, const std::int32_t* block_correction,
                        const ConvArgs& args) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  float a_scale[ConvIsa::most_rows];
  if (args.a_scale_vector)
    for (std::int64_t i = 0; i < rows.rows; ++i)
      a_scale[i] = args.a_scale[group * inputs_ + (rows.begin + i) % inputs_];
  const std::int64_t column = group * outputs_ + p.begin, first = column * rows_ + rows.begin;
  isa_.finish_columns({.sums = sums,
                       .acc = acc,
                       .correction = block_correction,
                       .rows = rows.rows,
                       .pitch = p.width,
                       .columns = p.columns(outputs_),
                       .out_pitch = rows_,
                       .a_scale = args.a_scale_vector ? a_scale : args.a_scale,
                       .b_scale = args.b_scale_vector ? args.b_scale + column : args.b_scale,
                       .a_scale_vector = args.a_scale_vector,
                       .b_scale_vector = args.b_scale_vector,
                       .out = args.out ? args.out + first : nullptr,
                       .accumulate = args.accumulate,
                       .integers = args.integers ? args.integers + first : nullptr});
}

}  // namespace

std::unique_ptr<ConvS8> make_grad_weight(const ConvIsa& isa, const ConvShape& shape, const View& a,
                                         const View& b) {
  return std::make_unique<GradWeight>(isa, shape, a, b);
}

}  // namespace octavo::kernels
