// grad_weight of the depthwise integer convolution: sums over image rows are cut into parts that fit int32
// and joined in int64.
#include <algorithm>

#include "conv_axes.h"
#include "depthwise_s8.h"
#include "sum_levels.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Results that one thread joins at a time.
constexpr std::int64_t join_size = 1024;

class DepthwiseGradWeight final : public ConvS8 {
 public:
  DepthwiseGradWeight(const DepthwiseIsa& isa, const ConvShape& shape, const View& a, const View& b)
      : isa_(isa), shape_(shape), a_(a), b_(b), rows_(shape.n * shape.ho) {
    const std::int64_t needed = ceil_div(rows_, longest_s8_sum / shape.wo);
    parts_ = std::min(rows_, std::max<std::int64_t>(needed, 32));
    for (std::int64_t r = 0; r < shape.r; ++r)
      for (std::int64_t s = 0; s < shape.s; ++s)
        offsets_.push_back(r * shape.dilation_h * row_bytes(a) + s * shape.dilation_w * a.channel_pitch);
  }
  std::int64_t scratch_bytes(const ConvArgs& args) const override {
    const std::int64_t pairs = args.a_planes * args.b_planes;
    return totals_at() + (pairs > 1 ? levels(args).count * sums() * 8 : 0);
  }

  void run(const ConvArgs& args, const Parallel& parallel) const override {
    for (int j = 0; j < args.b_planes; ++j)
      for (int i = 0; i < args.a_planes; ++i) {
        parallel(parts_, [&](std::int64_t part) { run_part(part, i, j, args); });
        parallel(ceil_div(sums(), join_size), [&](std::int64_t chunk) {
          join(chunk * join_size, std::min(sums(), (chunk + 1) * join_size), i, j, args);
        });
      }
  }

 private:
  std::int64_t sums() const { return shape_.r * shape_.s * shape_.c; }
  /// The int64 sums of several pairs of planes lie behind the int32 sums of the parts.
  std::int64_t totals_at() const { return ceil_div(parts_ * sums() * 4, 64) * 64; }
  SumLevels levels(const ConvArgs& args) const {
    return SumLevels::of(rows_ * shape_.wo, args.a_planes, args.b_planes, 0);
  }

  void run_part(std::int64_t part, int a_plane, int b_plane, const ConvArgs& args) const {
    const std::int64_t before =
        (a_.top - shape_.pad_h) * row_bytes(a_) + (a_.left - shape_.pad_w) * a_.channel_pitch;
    isa_.rows({.x = static_cast<const std::uint8_t*>(args.a) + a_plane * plane_stride(a_) + before,
               .g = static_cast<const std::uint8_t*>(args.b) + b_plane * plane_stride(b_) +
                    b_.top * row_bytes(b_) + b_.left * b_.channel_pitch,
               .x_sample = sample_bytes(a_),
               .x_row = shape_.stride_h * row_bytes(a_),
               .x_pixel = shape_.stride_w * a_.channel_pitch,
               .g_sample = sample_bytes(b_),
               .g_row = row_bytes(b_),
               .g_pixel = b_.channel_pitch,
               .offsets = offsets_.data(),
               .taps = shape_.r * shape_.s,
               .channels = shape_.c,
               .rows_per_sample = shape_.ho,
               .pixels_per_row = shape_.wo,
               .row_begin = rows_ * part / parts_,
               .row_end = rows_ * (part + 1) / parts_,
               .sums = static_cast<std::int32_t*>(args.scratch) + part * sums()});
  }

  /// Elements [begin, end) of [tap][channel] of one pair of planes; the last pair makes results of all.
  void join(std::int64_t begin, std::int64_t end, int a_plane, int b_plane, const ConvArgs& args) const {
    std::int64_t pair[join_size] = {};
    for (std::int64_t part = 0; part < parts_; ++part) {
      const std::int32_t* more = static_cast<const std::int32_t*>(args.scratch) + part * sums() + begin;
      for (std::int64_t i = 0; i < end - begin; ++i) pair[i] += more[i];
    }
    const bool last = a_plane + 1 == args.a_planes && b_plane + 1 == args.b_planes;
    const SumLevels levels = this->levels(args);
    const std::int64_t shift = 8 * (a_plane + b_plane);
    if (last && shift == 0) {
      for (std::int64_t i = begin; i < end; ++i) store(i, pair[i - begin], args);
      return;
    }
    auto* totals = reinterpret_cast<std::int64_t*>(static_cast<std::uint8_t*>(args.scratch) + totals_at());
    for (std::int64_t level = 0; shift == 0 && level < levels.count; ++level)
      std::fill(totals + level * sums() + begin, totals + level * sums() + end, 0);
    std::int64_t* total = totals + shift / levels.width * sums();
    for (std::int64_t i = begin; i < end; ++i)
      total[i] = wrapping_add(total[i], pair[i - begin] << (shift % levels.width));
    for (std::int64_t i = begin; last && i < end; ++i) store(i, levels.total(totals + i, sums()), args);
  }

  void store(std::int64_t i, Int128 sum, const ConvArgs& args) const {
    const std::int64_t c = i % shape_.c;
    store_sum(args, c * shape_.r * shape_.s + i / shape_.c, sum, c, c);
  }

  const DepthwiseIsa& isa_;
  ConvShape shape_;
  View a_, b_;
  std::int64_t rows_, parts_ = 1;
  std::vector<std::int64_t> offsets_;
};

}  // namespace

std::unique_ptr<ConvS8> make_depthwise_grad_weight(const DepthwiseIsa& isa, const ConvShape& shape,
                                                   const View& a, const View& b) {
  return std::make_unique<DepthwiseGradWeight>(isa, shape, a, b);
}

}  // namespace octavo::kernels
