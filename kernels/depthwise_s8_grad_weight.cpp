// grad_weight of the depthwise integer convolution: sums over image rows are cut into parts that fit int32
// and joined in int64.
#include <algorithm>

#include "conv_axes.h"
#include "depthwise_s8.h"
#include "pixel_blocks.h"
#include "sum_levels.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Tasks are parts of the rows, which have so many at least, times pieces of the channels.
constexpr std::int64_t wanted_tasks = 32, least_rows = 16, piece_channels = 64;
/// Results that one thread joins at a time.
constexpr std::int64_t join_size = 1024;

/// Rows of samples of one class; their int32 sum counts 2^shift, for the odd or the even classes.
struct Part {
  std::int64_t row_begin, row_end;
  int shift = 0;
  bool odd = false;
};

/// One run, and where its scratch holds what (bytes): int32 sums of the parts, int64 accumulators, the order
/// of samples and the parts of classes.
struct Run {
  const ConvArgs& args;
  const Part* parts;
  std::int64_t count;
  const std::int64_t* order;
  SumLevels levels;
  std::int64_t accumulators, totals_at, order_at, bytes;
  /// The sums of the parts of one pair of planes are the results.
  bool direct() const { return args.a_planes * args.b_planes == 1 && !args.sample_class; }
};

class DepthwiseGradWeight final : public ConvS8 {
 public:
  DepthwiseGradWeight(const DepthwiseIsa& isa, const ConvShape& shape, const View& a, const View& b)
      : isa_(isa), shape_(shape), a_(a), b_(b), rows_(shape.n * shape.ho), channels_(isa.padded(shape.c)) {
    const std::int64_t needed = ceil_div(rows_, longest_s8_sum / shape.wo);
    const std::int64_t parts =
        std::min(rows_, std::max(needed, std::clamp<std::int64_t>(rows_ / least_rows, 1, wanted_tasks)));
    pieces_ = std::min(ceil_div(shape.c, piece_channels), ceil_div(wanted_tasks, parts));
    for (std::int64_t part = 0; part < parts; ++part)
      parts_.push_back({rows_ * part / parts, rows_ * (part + 1) / parts});
  }
  std::int64_t scratch_bytes(const ConvArgs& args) const override { return lay_out(args).bytes; }

  void run(const ConvArgs& args, const Parallel& parallel) const override {
    Run run = lay_out(args);
    if (args.sample_class) cut_classes(run);
    for (int j = 0; j < args.b_planes; ++j)
      for (int i = 0; i < args.a_planes; ++i) {
        parallel(run.count * pieces_, [&](std::int64_t task) {
          run_part(task / pieces_, piece_begin(task % pieces_), piece_begin(task % pieces_ + 1), i, j, run);
        });
        parallel(ceil_div(sums(), join_size), [&](std::int64_t chunk) {
          const std::int64_t begin = chunk * join_size, end = std::min(sums(), begin + join_size);
          run.direct() ? join(begin, end, run) : join_terms(begin, end, i, j, run);
        });
      }
  }

 private:
  /// Of a part, [tap][channel], and with the sums of G behind them.
  std::int64_t sums() const { return shape_.r * shape_.s * channels_; }
  std::int64_t part_sums() const { return sums() + channels_; }
  std::int64_t piece_begin(std::int64_t piece) const {
    const std::int64_t units = ceil_div(shape_.c, piece_channels);
    return std::min(shape_.c, units * piece / pieces_ * piece_channels);
  }
  const std::int32_t* sums_of(std::int64_t part, const Run& run) const {
    return static_cast<const std::int32_t*>(run.args.scratch) + part * part_sums();
  }
  std::int64_t plain_parts() const { return static_cast<std::int64_t>(parts_.size()); }

  Run lay_out(const ConvArgs& args) const {
    Run run{.args = args, .parts = parts_.data(), .count = plain_parts(), .order = nullptr};
    const bool classes = args.sample_class != nullptr;
    const std::int64_t most_parts =
        plain_parts() + (classes ? std::min<std::int64_t>(shape_.n, most_sample_class + 1) : 0);
    run.levels = SumLevels::of(rows_ * shape_.wo, most_parts, args.a_planes, args.b_planes,
                               classes ? most_sample_class / 2 : 0);
    run.accumulators = run.levels.count * (classes ? 2 : 1);
    run.totals_at = ceil_div(most_parts * part_sums() * 4, 64) * 64;
    run.order_at = run.totals_at + (run.direct() ? 0 : run.accumulators * sums() * 8);
    run.bytes = run.order_at;
    if (classes) run.bytes += shape_.n * 8 + most_parts * static_cast<std::int64_t>(sizeof(Part));
    return run;
  }

  /// The rows of each class fall into parts that are no longer than those without classes.
  void cut_classes(Run& run) const {
    const std::uint8_t* classes = run.args.sample_class;
    auto* order =
        reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(run.args.scratch) + run.order_at);
    auto* parts = reinterpret_cast<Part*>(order + shape_.n);
    sort_by_class(classes, shape_.n, order);
    const std::int64_t longest = ceil_div(rows_, plain_parts());
    run.order = order, run.parts = parts, run.count = 0;
    for (std::int64_t first = 0, end = 0; first < shape_.n; first = end) {
      const int c = classes[order[first]];
      while (end < shape_.n && classes[order[end]] == c) ++end;
      const std::int64_t rows = (end - first) * shape_.ho, pieces = ceil_div(rows, longest);
      for (std::int64_t p = 0; p < pieces; ++p)
        parts[run.count++] = {first * shape_.ho + rows * p / pieces,
                              first * shape_.ho + rows * (p + 1) / pieces, c / 2, c % 2 != 0};
    }
  }

  void run_part(std::int64_t part, std::int64_t channel, std::int64_t channel_end, int a_plane, int b_plane,
                const Run& run) const {
    const std::int64_t before =
        (a_.top - shape_.pad_h) * row_bytes(a_) + (a_.left - shape_.pad_w) * a_.channel_pitch + channel;
    isa_.rows({.x = static_cast<const std::uint8_t*>(run.args.a) + a_plane * plane_stride(a_) + before,
               .g = static_cast<const std::uint8_t*>(run.args.b) + b_plane * plane_stride(b_) +
                    b_.top * row_bytes(b_) + b_.left * b_.channel_pitch + channel,
               .x_offset = a_.zero != 0,
               .x_sample = sample_bytes(a_),
               .x_row = shape_.stride_h * row_bytes(a_),
               .x_pixel = shape_.stride_w * a_.channel_pitch,
               .g_sample = sample_bytes(b_),
               .g_row = row_bytes(b_),
               .g_pixel = b_.channel_pitch,
               .tap_rows = shape_.r,
               .tap_columns = shape_.s,
               .x_tap_row = shape_.dilation_h * row_bytes(a_),
               .x_tap_column = shape_.dilation_w * a_.channel_pitch,
               .channels = channel_end - channel,
               .rows_per_sample = shape_.ho,
               .pixels_per_row = shape_.wo,
               .row_begin = run.parts[part].row_begin,
               .row_end = run.parts[part].row_end,
               .order = run.order,
               .sums = static_cast<std::int32_t*>(run.args.scratch) + part * part_sums() + channel,
               .pitch = channels_});
  }

  /// Elements [begin, end) of [tap][channel] of all parts.
  void join(std::int64_t begin, std::int64_t end, const Run& run) const {
    std::int64_t total[join_size] = {};
    for (std::int64_t part = 0; part < run.count; ++part) {
      const std::int32_t* more = sums_of(part, run) + begin;
      for (std::int64_t i = 0; i < end - begin; ++i) total[i] += more[i];
    }
    for (std::int64_t i = begin; i < end; ++i) store<std::int64_t>(i, {total[i - begin]}, run.args);
  }

  /// The sum of parts from `part` on, which moves behind them: of one kind, from high classes down, as many
  /// as int32 holds.
  Part join_parts(std::int64_t begin, std::int64_t end, std::int64_t& part, const Run& run,
                  std::int32_t* sum) const {
    Part joined = run.parts[part];
    std::int64_t terms = 0;
    const std::int64_t first = part;
    for (; part < run.count; ++part) {
      const Part& next = run.parts[part];
      const int down = joined.shift - next.shift;
      const std::int64_t more_terms = (next.row_end - next.row_begin) * shape_.wo;
      if (next.odd != joined.odd || (terms << down) + more_terms > longest_s8_sum) break;
      terms = (terms << down) + more_terms;
      joined.shift = next.shift;
      const std::int32_t* more = sums_of(part, run) + begin;
      if (part == first) std::copy_n(more, end - begin, sum);
      for (std::int64_t i = 0; part > first && i < end - begin; ++i) sum[i] = (sum[i] << down) + more[i];
    }
    return joined;
  }

  /// The same for one pair of planes, into the accumulators; the last pair makes results of them.
  void join_terms(std::int64_t begin, std::int64_t end, int a_plane, int b_plane, const Run& run) const {
    const ConvArgs& args = run.args;
    auto* totals = reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(args.scratch) + run.totals_at);
    for (std::int64_t index = 0; a_plane + b_plane == 0 && index < run.accumulators; ++index)
      std::fill(totals + index * sums() + begin, totals + index * sums() + end, 0);
    std::int32_t sum[join_size] = {};
    for (std::int64_t p = 0; p < run.count;) {
      const Part joined = join_parts(begin, end, p, run, sum);
      const std::int64_t shift = joined.shift + 8 * (a_plane + b_plane);
      const std::int64_t index = (joined.odd ? run.levels.count : 0) + shift / run.levels.width;
      std::int64_t* total = totals + index * sums() + begin;
      for (std::int64_t i = 0; i < end - begin; ++i)
        total[i] = wrapping_add(total[i], std::int64_t{sum[i]} << (shift % run.levels.width));
    }
    if (a_plane + 1 < args.a_planes || b_plane + 1 < args.b_planes) return;
    const std::int64_t odd = run.levels.count * sums();
    for (std::int64_t i = begin; i < end; ++i) {
      if (run.levels.count == 1)
        store<std::int64_t>(i, {totals[i], args.sample_class ? totals[odd + i] : 0}, args);
      else
        store<Int128>(i,
                      {run.levels.total(totals + i, sums()),
                       args.sample_class ? run.levels.total(totals + odd + i, sums()) : 0},
                      args);
    }
  }

  template <class Int>
  void store(std::int64_t i, const ClassSums<Int>& both, const ConvArgs& args) const {
    const std::int64_t c = i % channels_, taps = shape_.r * shape_.s, index = c * taps + i / channels_;
    if (c < shape_.c) store_sum(args, index, shape_.c * taps + index, both, c, c);
  }

  const DepthwiseIsa& isa_;
  ConvShape shape_;
  View a_, b_;
  std::int64_t rows_, channels_;  // channels: filled up to whole blocks
  std::int64_t pieces_ = 1;
  std::vector<Part> parts_;
};

}  // namespace

std::unique_ptr<ConvS8> make_depthwise_grad_weight(const DepthwiseIsa& isa, const ConvShape& shape,
                                                   const View& a, const View& b) {
  return std::make_unique<DepthwiseGradWeight>(isa, shape, a, b);
}

}  // namespace octavo::kernels
