// grad_weight of the tiled integer convolution: X as planes and G as quads share one linear pixel index, so
// that the contraction is one long loop over the pixels of all samples. Rows of the result are (tap, input
// channel) in the order of W; a block of pixels is short enough for int32, blocks are joined in int64.
#include <algorithm>
#include <array>

#include "conv_s8_tiled.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Quads of pixels in one block; a block of B stays in the L2 cache. A third more may occur.
constexpr std::int64_t block_quads = 2048;
static_assert(block_quads * 4 * 2 <= longest_s8_sum);

/// Smallest pitch at which a tap that leaves a row on the right finds only border of the next row: the right
/// border of a row is shared with the left border of the next.
std::int64_t shared_pitch(const ConvShape& shape) {
  const auto fits = [&](std::int64_t pitch) {
    for (std::int64_t s = 0; s < shape.s; ++s) {
      const std::int64_t shift = s * shape.dilation_w / shape.stride_w,
                         phase = s * shape.dilation_w % shape.stride_w;
      for (std::int64_t v = std::max(pitch, shift); v < shape.wo + shift; ++v)
        if (v * shape.stride_w + phase < shape.pad_w + shape.w ||
            (v - pitch) * shape.stride_w + phase >= shape.pad_w)
          return false;
    }
    return true;
  };
  std::int64_t pitch = shape.wo;
  while (!fits(pitch)) ++pitch;
  return pitch;
}

/// Pixels from the first to the last of G in one sample, a multiple of 4.
std::int64_t sample_pixels(const ConvShape& shape, std::int64_t pitch) {
  return round_up((shape.ho - 1) * pitch + shape.wo, 4);
}

struct Block {
  std::int64_t sample, samples, quad, quads;
};

struct RowTile {
  std::int64_t begin, rows;
};

/// Tiles [tile_begin, tile_end) of one panel over the blocks of one part.
struct Task {
  std::int64_t group, panel, tile_begin, tile_end, part;
};

class GradWeight final : public ConvS8 {
 public:
  GradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b);
  std::int64_t scratch_bytes() const override { return gathered_start() + (gather_ ? gathered_bytes() : 0); }
  void run(const ConvArgs& args, const Parallel& parallel) const override;

 private:
  bool direct() const { return blocks_.size() == 1; }
  std::int64_t count(const auto& list) const { return static_cast<std::int64_t>(list.size()); }
  std::int64_t correction_bytes() const {
    return round_up(
        shape_.groups * count(blocks_) * columns_ * static_cast<std::int64_t>(sizeof(std::int32_t)), 64);
  }
  std::int64_t part_sums() const { return shape_.groups * columns_ * rows_; }
  std::int64_t gathered_start() const {
    return correction_bytes() + (direct() ? 0 : parts_ * part_sums() * 8);
  }
  std::int64_t gathered_bytes() const { return shape_.groups * columns_ * shape_.n * b_.plane; }
  std::int32_t* correction(const ConvArgs& args, std::int64_t group, std::int64_t block) const {
    return static_cast<std::int32_t*>(args.scratch) + (group * count(blocks_) + block) * columns_;
  }
  std::int64_t* sums(const ConvArgs& args, std::int64_t part, std::int64_t group, std::int64_t panel,
                     std::int64_t row) const {
    auto* first =
        reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(args.scratch) + correction_bytes());
    const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
    return first + part * part_sums() + (group * columns_ + p.begin) * rows_ + row * p.width;
  }
  std::int64_t part_begin(std::int64_t part) const { return count(blocks_) * part / parts_; }

  void add_blocks();
  void add_row_tiles();
  void add_tasks();
  ConvTile block_tile(const ConvArgs& args, std::int64_t group, std::int64_t panel, const Block& block) const;
  std::int8_t* gathered(const ConvArgs& args, std::int64_t group, std::int64_t panel,
                        const Block& block) const;
  void sum_columns(const ConvArgs& args, std::int64_t group, std::int64_t block, std::int64_t panel) const;
  void run_task(const Task& task, const ConvArgs& args) const;
  void run_tile(const Task& task, const RowTile& rows, std::int64_t block, const ConvArgs& args) const;
  void join(std::int64_t group, std::int64_t panel, const RowTile& rows, const ConvArgs& args) const;
  void finish(std::int64_t group, std::int64_t panel, const RowTile& rows, const std::int64_t* sums,
              const std::int32_t* acc, const std::int32_t* block_correction, const ConvArgs& args) const;

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

/// Everything of a tile but its rows and results, with B in its view.
ConvTile GradWeight::block_tile(const ConvArgs& args, std::int64_t group, std::int64_t panel,
                                const Block& block) const {
  const std::int64_t column = group * outputs_ + panels_[static_cast<std::size_t>(panel)].begin;
  const auto* g = static_cast<const std::int8_t*>(args.b);
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
std::int8_t* GradWeight::gathered(const ConvArgs& args, std::int64_t group, std::int64_t panel,
                                  const Block& block) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  return static_cast<std::int8_t*>(args.scratch) + gathered_start() +
         (group * columns_ + p.begin) * shape_.n * b_.plane +
         (block.sample * b_.plane + block.quad * 4) * p.width;
}

/// 128 * sum of G over the block, modulo 2^32; gathers the panel on the way.
void GradWeight::sum_columns(const ConvArgs& args, std::int64_t group, std::int64_t block,
                             std::int64_t panel) const {
  const ConvPanel& p = panels_[static_cast<std::size_t>(panel)];
  const Block& b = blocks_[static_cast<std::size_t>(block)];
  ConvTile tile = block_tile(args, group, panel, b);
  tile.acc = correction(args, group, block) + p.begin;
  isa_.column_sums(tile, p.width, gather_ ? gathered(args, group, panel, b) : nullptr, b_.plane * p.width);
  for (std::int64_t j = 0; j < p.width; ++j)
    tile.acc[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(tile.acc[j]) * 128U);
}

void GradWeight::run(const ConvArgs& args, const Parallel& parallel) const {
  const std::int64_t panels = count(panels_), blocks = count(blocks_), tiles = count(row_tiles_);
  parallel(shape_.groups * blocks * panels, [&](std::int64_t item) {
    sum_columns(args, item / panels / blocks, item / panels % blocks, item % panels);
  });
  parallel(count(tasks_), [&](std::int64_t task) { run_task(tasks_[static_cast<std::size_t>(task)], args); });
  if (direct()) return;
  const std::int64_t pieces = std::min<std::int64_t>(tiles, 16);
  parallel(shape_.groups * panels * pieces, [&](std::int64_t item) {
    const std::int64_t piece = item % pieces;
    for (std::int64_t t = tiles * piece / pieces; t < tiles * (piece + 1) / pieces; ++t)
      join(item / pieces / panels, item / pieces % panels, row_tiles_[static_cast<std::size_t>(t)], args);
  });
}

void GradWeight::run_task(const Task& task, const ConvArgs& args) const {
  for (std::int64_t block = part_begin(task.part); block < part_begin(task.part + 1); ++block)
    for (std::int64_t t = task.tile_begin; t < task.tile_end; ++t)
      run_tile(task, row_tiles_[static_cast<std::size_t>(t)], block, args);
}

void GradWeight::run_tile(const Task& task, const RowTile& rows, std::int64_t block,
                          const ConvArgs& args) const {
  alignas(64) std::int32_t acc[ConvIsa::most_elements];
  const Block& b = blocks_[static_cast<std::size_t>(block)];
  const std::int64_t plane_bytes = a_.phase_h * a_.phase_w * a_.plane;
  const auto* x = static_cast<const std::uint8_t*>(args.a) +
                  (b.sample * a_.c + task.group * inputs_) * plane_bytes + b.quad * 4;
  std::array<const std::uint8_t*, ConvIsa::most_rows> pointers;
  for (std::int64_t i = 0; i < rows.rows; ++i)
    pointers[static_cast<std::size_t>(i)] = x + row_offsets_[static_cast<std::size_t>(rows.begin + i)];
  const ConvPanel& panel = panels_[static_cast<std::size_t>(task.panel)];
  ConvTile tile = block_tile(args, task.group, task.panel, b);
  if (gather_) {
    tile.b = gathered(args, task.group, task.panel, b);
    tile.b_step = panel.width * 4;
    tile.b_segment = b_.plane * panel.width;
  }
  tile.rows = pointers.data();
  tile.acc = acc;
  isa_.tiles[panel.width == 32][rows.rows](tile);
  const std::int32_t* block_correction = correction(args, task.group, block) + panel.begin;
  if (direct()) return finish(task.group, task.panel, rows, nullptr, acc, block_correction, args);
  isa_.add_sums(sums(args, task.part, task.group, task.panel, rows.begin), acc, block_correction, rows.rows,
                panel.width, block == part_begin(task.part));
}

void GradWeight::join(std::int64_t group, std::int64_t panel, const RowTile& rows,
                      const ConvArgs& args) const {
  const std::int64_t elements = rows.rows * panels_[static_cast<std::size_t>(panel)].width;
  std::int64_t* total = sums(args, 0, group, panel, rows.begin);
  for (std::int64_t part = 1; part < parts_; ++part) {
    const std::int64_t* more = sums(args, part, group, panel, rows.begin);
    for (std::int64_t i = 0; i < elements; ++i) total[i] += more[i];
  }
  finish(group, panel, rows, total, nullptr, nullptr, args);
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

View grad_weight_planes(const ConvShape& shape) {
  View view{.layout = Layout::planes, .n = shape.n, .h = shape.h, .w = shape.w, .c = shape.c};
  view.top = shape.pad_h, view.left = shape.pad_w;
  view.phase_h = shape.stride_h, view.phase_w = shape.stride_w;
  view.pitch = shared_pitch(shape);
  const std::int64_t last = (shape.r - 1) * shape.dilation_h / shape.stride_h * view.pitch +
                            (shape.s - 1) * shape.dilation_w / shape.stride_w;
  view.plane = round_up(last + sample_pixels(shape, view.pitch), 16);
  if (view.plane % 1024 == 0) view.plane += 64;  // the channels of a tile would share few cache sets
  return view;
}

View grad_weight_quads(const ConvShape& shape) {
  View view{.layout = Layout::quads, .n = shape.n, .h = shape.ho, .w = shape.wo, .c = shape.k};
  const std::int64_t outputs = shape.k / shape.groups;
  view.channel_pitch = shape.k - outputs + padded_columns(outputs);
  view.pitch = shared_pitch(shape);
  view.plane = sample_pixels(shape, view.pitch);
  return view;
}

std::unique_ptr<ConvS8> make_grad_weight(const ConvIsa& isa, const ConvShape& shape, const View& a,
                                         const View& b) {
  return std::make_unique<GradWeight>(isa, shape, a, b);
}

}  // namespace octavo::kernels
