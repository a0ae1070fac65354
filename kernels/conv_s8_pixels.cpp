// Forward and grad_input of the tiled integer convolution: every output pixel is a sum over taps of input
// pixels times packed weights. grad_input with a stride falls into classes of pixels that are reached by the
// same taps.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include "conv_s8_tiled.h"
#include "pixel_places.h"
#include "weight_pass.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Packed weights that leave the caches before they are read.
constexpr std::int64_t streamed_weights = 3 << 20;

/// Output pixels that are reached by the same taps.
struct PixelClass {
  ConvAxis h, w;
  PixelPlaces in, out;                     // bytes of A, elements of the results
  std::int64_t first_result;               // of an image
  std::vector<std::int64_t> offsets;       // bytes from an input pixel to the start of each run of taps
  std::vector<std::int64_t> b_offsets[2];  // where their weights lie in a panel of 16 and of 32 columns
  std::int64_t steps = 0;                  // groups of four channels in one run
  std::int64_t packed = 0;                 // where its packed weights start
  std::int64_t panel_bytes() const {
    return static_cast<std::int64_t>(offsets.size()) * steps * 4;
  }  // per column
  std::int64_t pixels() const { return h.size * w.size; }
};

/// Panels of a group.
struct Panels {
  std::int64_t group, begin, end;
};
/// One part of the tiles of every class: pixels of all classes lie between each other, and those of one part
/// meet in the caches.
struct Task {
  Panels panels;
  std::int64_t part, parts;
};
struct Range {
  std::int64_t begin, end;
};
/// Packed weights of the panels of one task stay in the L2 cache while pixels stream by.
constexpr std::int64_t cached_weights = 512 << 10;
constexpr std::int64_t most_panels = 8;  // that take the same tile one after the other

class PixelProduct final : public ConvS8 {
 public:
  PixelProduct(const ConvIsa& isa, const ConvShape& shape, Product product, const View& a);

  std::int64_t packed_bytes() const override {
    return weights_bytes_ + shape_.groups * static_cast<std::int64_t>(classes_.size()) * columns_ * 4;
  }
  void pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const override;
  bool packs_blocks() const override { return true; }
  void begin_pack(void* packed) const override;
  void pack_block(const WeightBlock& block, const std::int8_t* weights, std::int64_t pitch,
                  void* packed) const override;
  void run(const ConvArgs& args, const Parallel& parallel) const override;
  bool takes_parts(const ConvArgs& args, const ResultParts& parts) const override;
  void run_parts(const ConvArgs& args, const ResultParts& parts, const Parallel& parallel) const override;

 private:
  /// The rows of a tile: pixels of a class, and their scales of A.
  struct Rows {
    std::int64_t count;
    std::int64_t in_origin, out_origin;
    const std::int64_t *in, *out;
    const float* a_scale;
    bool one_scale;
  };
  /// What the tiles of one panel share but for their rows.
  struct PanelRun {
    ConvTile tile;
    ConvFinishRows finish;
    const std::uint8_t* a;  // of the group
    FloatTarget out;        // the panel's first column, as are the integers
    std::int64_t* integers;
    const ConvTiles* tiles;
    const ConvFinishedTiles* finished;  // with one scale of A; or null
  };
  /// A block of W as this product sees it.
  struct PackSource {
    const std::int8_t* weights;
    std::int64_t pitch, tap_bytes;  // from filter to filter, from tap to tap
    Range taps, outputs, inputs;    // of a group
  };

  void add_class(const ConvAxis& h, const ConvAxis& w);
  std::vector<Task> make_tasks(std::int64_t b_planes) const;
  std::int64_t tiles(const PixelClass& pixels) const;
  std::int64_t panel_start(const PixelClass& pixels, std::int64_t group, const ConvPanel& panel) const {
    return pixels.packed + (group * columns_ + panel.begin) * pixels.panel_bytes();
  }
  std::int64_t correction_start(std::size_t pixel_class, std::int64_t group) const {
    return weights_bytes_ + (static_cast<std::int64_t>(pixel_class) * shape_.groups + group) * columns_ * 4;
  }
  /// The result is larger than a cache.
  bool streams(const ConvArgs& args) const {
    return !args.accumulate && results_ * float_bytes(args.out.type) > streamed_bytes;
  }
  bool streams_weights() const { return weights_bytes_ > streamed_weights; }
  void clear_padding(std::uint8_t* packed, const PixelClass& pixels, std::int64_t group) const;
  void pack_panel(const PackSource& source, const PixelClass& pixels, const ConvPanel& panel,
                  std::int8_t* target, std::int32_t* sums) const;
  void add_correction(const std::int32_t* sums, std::int64_t columns, std::uint32_t* correction) const;
  static void take_scales(const PixelClass& pixels, std::int64_t n, std::int64_t p, const ConvArgs& args,
                          float* scales, Rows& rows);
  bool clears(const Task& task, const ConvArgs& args) const;
  void clear(const Range& range, const ConvArgs& args) const;
  void run_task(const Task& task, const ConvArgs& args) const;
  void run_pixels(const Panels& panels, std::size_t pixel_class, const Range& range,
                  const ConvArgs& args) const;
  void run_panels(const Panels& panels, std::size_t pixel_class, const Range& range,
                  const ConvArgs& args) const;
  PanelRun panel_run(std::size_t pixel_class, std::int64_t group, const ConvPanel& panel, std::int32_t* acc,
                     const ConvArgs& args) const;
  bool ends_in_registers(const ConvArgs& args, std::int64_t column, std::int64_t columns) const;
  bool is_converted(const ConvArgs& args, const ConvPanel& panel, std::int64_t column) const;
  void run_tile(PanelRun& run, const Rows& at, const ConvArgs& args) const;
  void run_planes(const ConvTiles& tiles, const ConvTile& first, ConvFinishRows finish,
                  const ConvArgs& args) const;

  const ConvIsa& isa_;
  ConvShape shape_;
  Product product_;
  View a_;
  std::int64_t inputs_, outputs_;  // channels per group that are contracted, and that result
  std::int64_t columns_;           // outputs with the padding of the last panel
  bool dense_;                     // has_dense_rows(), and A has
  std::vector<ConvPanel> panels_;
  std::int64_t max_rows_ = 0;
  std::vector<PixelClass> classes_;
  std::array<std::vector<Task>, most_planes> tasks_;  // for B of 1, 2, 3 planes
  std::int64_t weights_bytes_ = 0;
  std::int64_t results_ = 0;
  mutable std::mutex correction_mutex_;
};

PixelProduct::PixelProduct(const ConvIsa& isa, const ConvShape& shape, Product product, const View& a)
    : isa_(isa), shape_(shape), product_(product), a_(a) {
  const bool forward = product == Product::forward;
  inputs_ = (forward ? shape.c : shape.k) / shape.groups;
  outputs_ = (forward ? shape.k : shape.c) / shape.groups;
  panels_ = conv_panels(isa, outputs_);
  columns_ = panels_.back().begin + panels_.back().width;
  dense_ = has_dense_rows(shape, product) && a.channel_pitch == shape.c;
  max_rows_ = isa.max_rows[panels_.front().width == 32];
  const ConvAxes axes = conv_axes(shape, product);
  for (const ConvAxis& h : axes.h)
    for (const ConvAxis& w : axes.w) add_class(h, w);
  for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i] = make_tasks(static_cast<std::int64_t>(i) + 1);
  const std::int64_t pixels = forward ? shape.ho * shape.wo : shape.h * shape.w;
  results_ = shape.n * pixels * outputs_ * shape.groups;
}

void PixelProduct::add_class(const ConvAxis& h, const ConvAxis& w) {
  const bool forward = product_ == Product::forward;
  const std::int64_t out_pixel = outputs_ * shape_.groups,
                     out_row = (forward ? shape_.wo : shape_.w) * out_pixel,
                     out_image = (forward ? shape_.ho : shape_.h) * out_row;
  const std::int64_t row = (a_.left + a_.w + a_.right) * a_.channel_pitch, quads = ceil_div(inputs_, 4);
  const PixelSteps in{w.in_step * a_.channel_pitch, h.in_step * row, (a_.top + a_.h + a_.bottom) * row},
      out{w.step * out_pixel, h.step * out_row, out_image};
  PixelClass pixels{.h = h,
                    .w = w,
                    .in = {h, w, in, max_rows_},
                    .out = {h, w, out, max_rows_},
                    .first_result = h.first * out_row + w.first * out_pixel,
                    .offsets = {},
                    .b_offsets = {}};
  bool joined =
      shape_.groups == 1 && quads * 4 == a_.channel_pitch;  // neighbouring taps are one run of bytes
  for (std::size_t t = 1; t < w.taps.size(); ++t) joined = joined && w.taps[t].in == w.taps[t - 1].in + 1;
  joined = joined || dense_;
  const std::size_t run = joined ? std::max<std::size_t>(w.taps.size(), 1) : 1;
  for (const ConvAxis::Tap& tap_h : h.taps)
    for (std::size_t t = 0; t < w.taps.size(); t += run)
      pixels.offsets.push_back((a_.top + tap_h.in) * row + (a_.left + w.taps[t].in) * a_.channel_pitch);
  pixels.steps =
      dense_ ? ceil_div(inputs_ * static_cast<std::int64_t>(run), 4) : quads * static_cast<std::int64_t>(run);
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(pixels.offsets.size()); ++t)
    for (std::int64_t wide : {0, 1}) pixels.b_offsets[wide].push_back(t * pixels.steps * 64 * (1 + wide));
  pixels.packed = weights_bytes_;
  weights_bytes_ += round_up(shape_.groups * columns_ * pixels.panel_bytes(), 64);
  classes_.push_back(pixels);
}

std::int64_t PixelProduct::tiles(const PixelClass& pixels) const {
  return ceil_div(a_.n * pixels.pixels(), max_rows_);
}

/// Weights of the panels of one task stay in the L2 cache while pixels stream by; the cut depends on sizes
/// alone.
std::vector<Task> PixelProduct::make_tasks(std::int64_t b_planes) const {
  constexpr std::int64_t least_macs = 2 << 20, wanted_tasks = 64;
  std::int64_t column_bytes = 0, macs = 0, most_tiles = 0;
  for (const PixelClass& pixels : classes_) {
    column_bytes += pixels.panel_bytes();
    macs += tiles(pixels) * std::max<std::int64_t>(pixels.panel_bytes() * columns_ * max_rows_, 1);
    most_tiles = std::max(most_tiles, tiles(pixels));
  }
  const auto panels = static_cast<std::int64_t>(panels_.size());
  std::int64_t blocks =
      std::clamp<std::int64_t>(ceil_div(b_planes * columns_ * column_bytes, cached_weights), 1, panels);
  const std::int64_t parts = std::clamp<std::int64_t>(macs / blocks / least_macs, 1,
                                                      std::min<std::int64_t>(most_tiles, wanted_tasks));
  if (parts * blocks < 16) blocks = std::min(panels, ceil_div(16, parts));
  std::vector<Task> tasks;
  for (std::int64_t group = 0; group < shape_.groups; ++group)
    for (std::int64_t block = 0; block < blocks; ++block)
      for (std::int64_t part = 0; part < parts; ++part)
        tasks.push_back({{group, panels * block / blocks, panels * (block + 1) / blocks}, part, parts});
  return tasks;
}

void PixelProduct::pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const {
  const WeightShape shape{shape_.k, shape_.r * shape_.s, shape_.c / shape_.groups, shape_.groups};
  const WeightBlocks blocks(shape, 0, shape.k, 1);
  begin_pack(packed);
  parallel(blocks.size(), [&](std::int64_t i) {
    const WeightBlock block = blocks[i];
    pack_block(block, weights + block.k * shape.row() + block.begin, shape.row(), packed);
  });
}

void PixelProduct::begin_pack(void* packed) const {
  auto* bytes = static_cast<std::uint8_t*>(packed);
  std::memset(bytes + weights_bytes_, 0, static_cast<std::size_t>(packed_bytes() - weights_bytes_));
  for (const PixelClass& pixels : classes_)
    for (std::int64_t group = 0; group < shape_.groups; ++group) clear_padding(bytes, pixels, group);
}

/// Channels and columns that there are not.
void PixelProduct::clear_padding(std::uint8_t* packed, const PixelClass& pixels, std::int64_t group) const {
  for (const ConvPanel& panel : panels_)
    if (panel.columns(outputs_) < panel.width || inputs_ % 4 != 0)
      std::memset(packed + panel_start(pixels, group, panel), 0,
                  static_cast<std::size_t>(panel.width * pixels.panel_bytes()));
}

void PixelProduct::pack_block(const WeightBlock& block, const std::int8_t* weights, std::int64_t pitch,
                              void* packed) const {
  const std::int64_t filters = shape_.k / shape_.groups, channels = shape_.c / shape_.groups;
  const std::int64_t group = block.k / filters, tap = block.begin / channels;
  const Range k{block.k % filters, block.k % filters + block.k_end - block.k};
  const bool whole = block.end - block.begin >= channels;
  const Range c =
      whole ? Range{0, channels} : Range{block.begin - tap * channels, block.end - tap * channels};
  const bool forward = product_ == Product::forward;
  const PackSource source{.weights = weights,
                          .pitch = pitch,
                          .tap_bytes = channels,
                          .taps = {tap, ceil_div(block.end, channels)},
                          .outputs = forward ? k : c,
                          .inputs = forward ? c : k};
  auto* bytes = static_cast<std::uint8_t*>(packed);
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    alignas(64) std::int32_t sums[most_block_channels + ConvIsa::widest] = {};
    std::int64_t columns = 0;
    for (auto panel = panels_.begin() + source.outputs.begin / panels_.front().width;
         panel != panels_.end() && panel->begin < source.outputs.end; columns += panel->width, ++panel)
      pack_panel(source, classes_[i], *panel,
                 reinterpret_cast<std::int8_t*>(bytes + panel_start(classes_[i], group, *panel)),
                 sums + columns);
    add_correction(
        sums, columns,
        reinterpret_cast<std::uint32_t*>(bytes + correction_start(i, group)) + source.outputs.begin);
  }
  if (streams_weights()) std::atomic_thread_fence(std::memory_order_seq_cst);  // orders streaming stores
}

/// [tap][channel / 4][column][4]; of dense rows [row of taps][tap and channel / 4][column][4].
void PixelProduct::pack_panel(const PackSource& source, const PixelClass& pixels, const ConvPanel& panel,
                              std::int8_t* target, std::int32_t* sums) const {
  const bool forward = product_ == Product::forward;
  const std::int64_t step = panel.width * 4, tap_bytes = ceil_div(inputs_, 4) * step;
  const std::int64_t column = (panel.begin - source.outputs.begin) * (forward ? source.pitch : 1);
  const std::int64_t columns = std::min(panel.width, source.outputs.end - panel.begin);
  if (dense_) {
    const std::int64_t row = shape_.s * inputs_;
    for (const ConvAxis::Tap& tap : pixels.h.taps) {
      isa_.pack_rows({target, step, source.weights + tap.index * row + column, source.pitch, row, columns,
                      sums, streams_weights()});
      target += pixels.steps * step;
    }
    return;
  }
  target += source.inputs.begin / 4 * step;
  for (const ConvAxis::Tap& tap_h : pixels.h.taps)
    for (const ConvAxis::Tap& tap_w : pixels.w.taps) {
      const std::int64_t tap = tap_h.index * shape_.s + tap_w.index;
      if (tap >= source.taps.begin && tap < source.taps.end)
        (forward ? isa_.pack_rows : isa_.pack_columns)(
            {target, step, source.weights + (tap - source.taps.begin) * source.tap_bytes + column,
             source.pitch, source.inputs.end - source.inputs.begin, columns, sums, streams_weights()});
      target += tap_bytes;
    }
}

/// What stands for 0 in A times the column sums, modulo 2^32; blocks on other threads add theirs.
void PixelProduct::add_correction(const std::int32_t* sums, std::int64_t columns,
                                  std::uint32_t* correction) const {
  const std::lock_guard lock(correction_mutex_);
  for (std::int64_t j = 0; j < columns; ++j) correction[j] += static_cast<std::uint32_t>(sums[j]) * a_.zero;
}

void PixelProduct::run(const ConvArgs& args, const Parallel& parallel) const {
  const std::vector<Task>& tasks = tasks_[static_cast<std::size_t>(args.b_planes - 1)];
  parallel(static_cast<std::int64_t>(tasks.size()),
           [&](std::int64_t task) { run_task(tasks[static_cast<std::size_t>(task)], args); });
}

/// Whether a part of the results is cleared as a whole, because pixels that no tap reaches lie in it: classes
/// of as many pixels in each row and column, which a part holds the same of.
bool PixelProduct::clears(const Task& task, const ConvArgs& args) const {
  const auto is_empty = [](const PixelClass& pixels) { return pixels.offsets.empty(); };
  return product_ == Product::grad_input && !args.accumulate && !args.bias && !args.integers &&
         !streams(args) && shape_.groups == 1 && shape_.h % shape_.stride_h == 0 &&
         shape_.w % shape_.stride_w == 0 && task.panels.begin == 0 &&
         task.panels.end == static_cast<std::int64_t>(panels_.size()) &&
         std::any_of(classes_.begin(), classes_.end(), is_empty);
}

/// The results of all classes between two pixels of each, in whole lines.
void PixelProduct::clear(const Range& range, const ConvArgs& args) const {
  const std::int64_t width = shape_.w / shape_.stride_w, pixel = shape_.stride_w * outputs_,
                     size = float_bytes(args.out.type);
  for (std::int64_t at = range.begin, end = 0; at < range.end; at = end) {
    end = std::min(range.end, (at / width + 1) * width);
    const std::int64_t first = at / width * shape_.stride_h * width + at % width;
    for (std::int64_t row = 0; row < shape_.stride_h; ++row)
      std::memset((args.out + (first + row * width) * pixel).data, 0,
                  static_cast<std::size_t>((end - at) * pixel * size));
  }
}

void PixelProduct::run_task(const Task& task, const ConvArgs& args) const {
  const auto range_of = [&](const PixelClass& pixels) {
    const std::int64_t count = tiles(pixels), all = a_.n * pixels.pixels();
    const auto border = [&](std::int64_t part) { return all * (count * part / task.parts) / count; };
    return Range{border(task.part), border(task.part + 1)};
  };
  const bool cleared = clears(task, args);
  if (cleared) clear(range_of(classes_.front()), args);
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    // No tap reaches these pixels: 0 would be added, which only makes +0 of -0.
    const bool nothing_to_add = cleared || (args.accumulate && !args.bias && !args.integers);
    if (classes_[i].offsets.empty() && nothing_to_add) continue;
    run_pixels(task.panels, i, range_of(classes_[i]), args);
  }
  if (streams(args)) std::atomic_thread_fence(std::memory_order_seq_cst);  // orders streaming stores
}

bool PixelProduct::takes_parts(const ConvArgs& args, const ResultParts&) const {
  return product_ == Product::forward && args.b_planes * weights_bytes_ <= cached_weights && !streams(args);
}

/// The panels of a part one after the other: its results are read again before they leave the caches.
void PixelProduct::run_parts(const ConvArgs& args, const ResultParts& parts, const Parallel& parallel) const {
  const auto panels = static_cast<std::int64_t>(panels_.size());
  const auto run_range = [&](const Range& range) {
    for (std::int64_t group = 0; group < shape_.groups; ++group)
      run_pixels({group, 0, panels}, 0, range, args);
  };
  run_range({0, 1});
  parts.first_pixel();
  parallel(parts.count, [&](std::int64_t part) {
    run_range({parts.border(part), parts.border(part + 1)});
    parts.written(part);
  });
}

/// Pixels of a class, counted through all samples.
void PixelProduct::run_pixels(const Panels& panels, std::size_t pixel_class, const Range& range,
                              const ConvArgs& args) const {
  for (std::int64_t panel = panels.begin; panel < panels.end; panel += most_panels)
    run_panels({panels.group, panel, std::min(panel + most_panels, panels.end)}, pixel_class, range, args);
}

/// The same for at most most_panels.
void PixelProduct::run_panels(const Panels& panels, std::size_t pixel_class, const Range& range,
                              const ConvArgs& args) const {
  const PixelClass& pixels = classes_[pixel_class];
  const std::int64_t all = range.end - range.begin, count = ceil_div(all, max_rows_);
  alignas(64) std::int32_t acc[ConvIsa::most_elements];
  float scales[ConvIsa::most_rows];
  std::array<PanelRun, most_panels> runs;
  for (std::int64_t panel = panels.begin; panel < panels.end; ++panel)
    runs[static_cast<std::size_t>(panel - panels.begin)] =
        panel_run(pixel_class, panels.group, panels_[static_cast<std::size_t>(panel)], acc, args);
  // Tile t begins at pixel all * t / count; no division in the loop, where a tile may take 100 cycles.
  const std::int64_t least = count > 0 ? all / count : 0, rest = all - least * count;
  std::int64_t carry = 0;
  std::int64_t n = range.begin / pixels.pixels(), p = range.begin % pixels.pixels();
  for (std::int64_t tile = 0; tile < count; ++tile) {
    carry += rest;
    const std::int64_t tile_rows = least + (carry >= count ? 1 : 0);
    if (carry >= count) carry -= count;
    Rows rows{tile_rows,
              pixels.in.origin(n, p),
              pixels.out.origin(n, p),
              pixels.in.from(p),
              pixels.out.from(p),
              args.a_scale,
              true};
    if (args.a_scale_vector) take_scales(pixels, n, p, args, scales, rows);
    for (std::int64_t panel = 0; panel < panels.end - panels.begin; ++panel)
      run_tile(runs[static_cast<std::size_t>(panel)], rows, args);
    p += tile_rows;
    for (; p >= pixels.pixels(); ++n) p -= pixels.pixels();
  }
}

/// The scale of the image, or of the images of the rows.
void PixelProduct::take_scales(const PixelClass& pixels, std::int64_t n, std::int64_t p, const ConvArgs& args,
                               float* scales, Rows& rows) {
  rows.a_scale = args.a_scale + n;
  rows.one_scale = p + rows.count <= pixels.pixels();
  if (rows.one_scale) return;
  for (std::int64_t i = 0; i < rows.count; ++i) scales[i] = rows.a_scale[(p + i) / pixels.pixels()];
  rows.a_scale = scales;
}

/// One product for each pair of planes, joined in int64, which holds them: refuse_tiled limits the terms.
[[gnu::noinline]] void PixelProduct::run_planes(const ConvTiles& tiles, const ConvTile& first,
                                                ConvFinishRows finish, const ConvArgs& args) const {
  static_assert(Int128{longest_s8_sum} * largest_integer(most_planes) * largest_integer(most_planes) <
                Int128{1} << 63);
  alignas(64) std::int64_t sums[ConvIsa::most_elements];
  ConvTile tile = first;
  const std::int32_t* correction = finish.correction;
  for (int j = 0; j < args.b_planes; ++j, tile.b += packed_stride(), correction += packed_stride() / 4)
    for (int i = 0; i < args.a_planes; ++i) {
      tile.a = first.a + i * plane_stride(a_);
      tiles.sums[static_cast<std::size_t>(finish.rows)](tile);
      isa_.add_sums(sums, tile.acc, correction, finish.rows, finish.pitch, 8 * (i + j), i + j == 0);
    }
  finish.sums = sums;
  isa_.finish_rows(finish);
}

/// What a ConvFinishedTile takes.
bool PixelProduct::ends_in_registers(const ConvArgs& args, std::int64_t column, std::int64_t columns) const {
  const auto finite = [](const float* scale, std::int64_t count) {
    return std::all_of(scale, scale + count, [](float v) { return std::isfinite(v); });
  };
  return args.a_planes * args.b_planes == 1 && !args.integers &&
         (!args.bias || finite(args.bias + column, columns)) &&
         finite(args.a_scale, args.a_scale_vector ? shape_.n : 1) &&
         finite(args.b_scale + (args.b_scale_vector ? column : 0), args.b_scale_vector ? columns : 1);
}

/// What one of ConvIsa::converted takes, of that: no result but 0 may be subnormal, and the smallest is a
/// scale.
bool PixelProduct::is_converted(const ConvArgs& args, const ConvPanel& panel, std::int64_t column) const {
  if (args.out.type != FloatType::bf16 || args.bias || args.accumulate || !converts_bf16() ||
      !isa_.converted[isa_.tile_index(panel.width, panel.columns(outputs_))])
    return false;
  const float* const b_scale = args.b_scale + (args.b_scale_vector ? column : 0);
  const std::int64_t b_scales = args.b_scale_vector ? panel.columns(outputs_) : 1;
  return *std::min_element(args.a_scale, args.a_scale + (args.a_scale_vector ? shape_.n : 1)) *
             *std::min_element(b_scale, b_scale + b_scales) >=
         std::numeric_limits<float>::min();
}

PixelProduct::PanelRun PixelProduct::panel_run(std::size_t pixel_class, std::int64_t group,
                                               const ConvPanel& panel, std::int32_t* acc,
                                               const ConvArgs& args) const {
  const PixelClass& pixels = classes_[pixel_class];
  const auto* packed = static_cast<const std::uint8_t*>(args.b);
  const std::int64_t column = group * outputs_ + panel.begin;
  const ConvTile tile{.a = nullptr,
                      .rows = nullptr,
                      .b = reinterpret_cast<const std::int8_t*>(packed + panel_start(pixels, group, panel)),
                      .b_step = panel.width * 4,
                      .offsets = pixels.offsets.data(),
                      .b_offsets = pixels.b_offsets[panel.width == 32].data(),
                      .shifts = nullptr,
                      .segments = static_cast<std::int64_t>(pixels.offsets.size()),
                      .steps = pixels.steps,
                      .scattered = false,
                      .acc = acc};
  const ConvFinishRows finish{
      .sums = nullptr,
      .acc = acc,
      .correction =
          reinterpret_cast<const std::int32_t*>(packed + correction_start(pixel_class, group)) + panel.begin,
      .rows = 0,
      .pitch = panel.width,
      .columns = panel.columns(outputs_),
      .out_index = nullptr,
      .a_scale = args.a_scale,
      .b_scale = args.b_scale_vector ? args.b_scale + column : args.b_scale,
      .a_scale_vector = args.a_scale_vector,
      .b_scale_vector = args.b_scale_vector,
      .bias = args.bias ? args.bias + column : nullptr,
      .out = args.out,
      .accumulate = args.accumulate,
      .stream =
          streams(args) && whole_lines(args.out + column, outputs_ * shape_.groups, panel.columns(outputs_)),
      .integers = nullptr};
  // A finished tile ends with a step, a narrow one with two.
  const bool plain = !pixels.offsets.empty() && pixels.steps > (panel.width == 32 ? 0 : 1) &&
                     ends_in_registers(args, column, finish.columns);
  const std::int64_t first = pixels.first_result + column;
  const int index = isa_.tile_index(panel.width, finish.columns);
  return {tile,
          finish,
          static_cast<const std::uint8_t*>(args.a) + group * inputs_,
          args.out ? args.out + first : FloatTarget{},
          args.integers ? args.integers + first : nullptr,
          isa_.tiles[index],
          plain && is_converted(args, panel, column) ? isa_.converted[index]
          : plain                                    ? &isa_.tiles[index]->finished
                                                     : nullptr};
}

/// What all panels share comes with the rows; a panel takes as little of it as it can, since its results wait
/// in the same queue of stores.
void PixelProduct::run_tile(PanelRun& run, const Rows& at, const ConvArgs& args) const {
  run.tile.a = run.a + at.in_origin;
  run.tile.rows = at.in;
  ConvFinishRows& finish = run.finish;
  finish.out_index = at.out;
  if (run.out) finish.out = run.out + at.out_origin;
  if (args.a_scale_vector) finish.a_scale = at.a_scale, finish.a_scale_vector = !at.one_scale;
  // The lines that are added to come while the tile is computed; stores alone need no such help.
  if (args.accumulate && !args.integers)
    for (std::int64_t i = 0; i < at.count; ++i)
      for (std::int64_t j = 0; j < finish.columns; j += 64 / float_bytes(finish.out.type))
        __builtin_prefetch((finish.out + (finish.out_index[i] + j)).data, 1);
  const auto count = static_cast<std::size_t>(at.count);
  if (run.finished && at.one_scale && (*run.finished)[count]) return (*run.finished)[count](run.tile, finish);
  finish.rows = at.count;
  if (run.integers) finish.integers = run.integers + at.out_origin;
  if (args.a_planes * args.b_planes > 1) return run_planes(*run.tiles, run.tile, finish, args);
  run.tiles->sums[count](run.tile);
  isa_.finish_rows(finish);
}

}  // namespace

std::unique_ptr<ConvS8> make_pixel_product(const ConvIsa& isa, const ConvShape& shape, Product product,
                                           const View& a) {
  return std::make_unique<PixelProduct>(isa, shape, product, a);
}

}  // namespace octavo::kernels
