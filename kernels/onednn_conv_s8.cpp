// INT8 forward convolutions by oneDNN: int32 sums of a few images or rows of one, then the epilogue of our
// own kernels on them. A `rows` view is to oneDNN a larger u8 image without padding, whose border holds
// `zero`.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "conv_s8_tiled.h"
#include "onednn.h"

namespace octavo::kernels {

extern const ConvIsa conv_isa_avx512vnni;

namespace {

using Sizes = dnnl::memory::dims;
using Forward = dnnl::convolution_forward;
constexpr auto u8 = dnnl::memory::data_type::u8;
constexpr auto s8 = dnnl::memory::data_type::s8;
constexpr auto s32 = dnnl::memory::data_type::s32;
constexpr std::int64_t block_bytes = 512 << 10;  // sums that stay in the L2 cache until they are read
constexpr std::int64_t most_chunks = 32;

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// What one call of oneDNN computes: `rows` output rows of `images` images, from `in_rows` rows each.
struct Block {
  std::int64_t images, rows, in_rows;
};

/// oneDNN promises no exact sums. Its BRGEMM kernels store the int32 accumulators; all others convert them to
/// float on the way, which holds integers below 2^24.
bool sums_are_exact(const Forward::primitive_desc& desc, const ConvShape& s) {
  return std::string_view(desc.impl_info_str()).find("brg") != std::string_view::npos ||
         s.r * s.s * s.c * 255 * 128 < (1 << 24);
}

/// Without VNNI sums of two products saturate at 16 bits.
bool has_vnni() {
  const auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_vnni);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

class OnednnConvS8 final : public ConvS8 {
 public:
  OnednnConvS8(const ConvShape& shape, const View& a)
      : shape_(shape),
        a_(a),
        columns_(ceil_div(shape.k, 16) * 16),
        filter_rows_((shape.r - 1) * shape.dilation_h + 1),
        width_(a.left + a.w + a.right),
        out_width_((width_ - (shape.s - 1) * shape.dilation_w - 1) / shape.stride_w + 1),
        top_(a.top - shape.pad_h),
        left_(a.left - shape.pad_w),
        block_(choose_block()),
        blocks_(block_.images > 1 ? ceil_div(shape.n, block_.images)
                                  : shape.n * ceil_div(shape.ho, block_.rows)),
        chunks_(std::min(blocks_, most_chunks)) {
    const OneOpenMpThread one_thread;
    x_ = Desc({block_.images, a.channel_pitch, block_.in_rows, width_}, u8, dnnl::memory::format_tag::nhwc);
    y_ = Desc({block_.images, columns_, block_.rows, out_width_}, s32, dnnl::memory::format_tag::nhwc);
    const Desc any(weight_sizes(), s8, dnnl::memory::format_tag::any);
    const auto planned = describe<Forward>(
        user_scratchpad(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x_, any,
        y_, Sizes{shape.stride_h, shape.stride_w}, Sizes{shape.dilation_h - 1, shape.dilation_w - 1},
        Sizes{0, 0}, Sizes{0, 0});
    exact_ = sums_are_exact(planned, shape);
    weights_ = planned.weights_desc();
    product_ = {Forward(planned), planned.scratchpad_desc()};
  }

  bool exact() const { return exact_; }

  std::int64_t packed_bytes() const override {
    return correction_start() + columns_ * 4 + (is_padded() ? filter_bytes() * columns_ : 0);
  }

  /// Missing channels and columns are 0; then what stands for 0 in A times the sum of each filter.
  void pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const override {
    auto* bytes = static_cast<std::int8_t*>(packed);
    auto* correction = reinterpret_cast<std::int32_t*>(bytes + correction_start());
    std::int8_t* padded = bytes + correction_start() + columns_ * 4;
    const std::int64_t taps = shape_.r * shape_.s;
    parallel(1, [&](std::int64_t) {
      if (is_padded()) std::memset(padded, 0, static_cast<std::size_t>(filter_bytes() * columns_));
      std::fill(correction, correction + columns_, 0);
      for (std::int64_t k = 0; k < shape_.k; ++k)
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          const std::int8_t* from = weights + (k * taps + tap) * shape_.c;
          for (std::int64_t c = 0; c < shape_.c; ++c) correction[k] += from[c] * a_.zero;
          if (is_padded())
            std::memcpy(padded + k * filter_bytes() + tap * a_.channel_pitch, from,
                        static_cast<std::size_t>(shape_.c));
        }
      const Desc plain(weight_sizes(), s8, dnnl::memory::format_tag::ohwi);
      reorder(plain, is_padded() ? padded : weights, weights_, packed);
    });
  }

  std::int64_t scratch_bytes(const ConvArgs& args) const override { return chunks_ * chunk_bytes(args) + 64; }

  void run(const ConvArgs& args, const Parallel& parallel) const override {
    parallel(chunks_, [&](std::int64_t chunk) {
      char* scratch = aligned(args.scratch) + chunk * chunk_bytes(args);
      for (std::int64_t i = blocks_ * chunk / chunks_; i < blocks_ * (chunk + 1) / chunks_; ++i)
        run_block(i, args, scratch);
    });
  }

 private:
  /// Whole images where several fit, else rows of one image; a block of images needs the border to shift the
  /// output by whole rows.
  Block choose_block() const {
    const std::int64_t row_bytes = out_width_ * columns_ * 4, height = a_.top + a_.h + a_.bottom;
    const std::int64_t rows = (height - filter_rows_) / shape_.stride_h + 1;
    const std::int64_t images = std::min(shape_.n, block_bytes / (rows * row_bytes));
    if (images > 1 && top_ % shape_.stride_h == 0) return {images, rows, height};
    const std::int64_t parts = ceil_div(shape_.ho * row_bytes, block_bytes);
    const std::int64_t part = ceil_div(shape_.ho, std::min(parts, shape_.ho));
    return {1, part, (part - 1) * shape_.stride_h + filter_rows_};
  }

  Sizes weight_sizes() const { return {columns_, a_.channel_pitch, shape_.r, shape_.s}; }
  std::int64_t filter_bytes() const { return shape_.r * shape_.s * a_.channel_pitch; }
  bool is_padded() const { return columns_ != shape_.k || a_.channel_pitch != shape_.c; }
  std::int64_t correction_start() const { return size_of(weights_); }
  std::int64_t sum_bytes() const { return size_of(y_); }
  std::int64_t chunk_bytes(const ConvArgs& args) const {
    const bool wide = args.a_planes * args.b_planes > 1;
    return sum_bytes() * (wide ? 3 : 1) + size_of(product_.scratchpad);
  }

  /// The last block of a batch or image reaches back to be as large as the others, and leaves out what the
  /// one before it has written.
  void run_block(std::int64_t block, const ConvArgs& args, char* scratch) const {
    const bool whole = block_.images > 1;
    const std::int64_t per_image = whole ? 1 : ceil_div(shape_.ho, block_.rows);
    const std::int64_t n = whole ? block * block_.images : block / per_image;
    const std::int64_t i = whole ? 0 : block % per_image * block_.rows;
    const std::int64_t first_n = whole ? std::min(n, shape_.n - block_.images) : n;
    const std::int64_t first_i = whole ? 0 : std::min(i, shape_.ho - block_.rows);
    const std::int64_t in_row = whole ? 0 : top_ + first_i * shape_.stride_h;
    const std::int64_t start = (first_n * (a_.top + a_.h + a_.bottom) + in_row) * width_ * a_.channel_pitch;
    ConvFinishRows finish = multiply(static_cast<const std::uint8_t*>(args.a) + start, args, scratch);
    const std::int64_t shift = whole ? top_ / shape_.stride_h : -first_i;
    for (std::int64_t image = n; image < first_n + block_.images; ++image)
      for (std::int64_t row = i; row < (whole ? shape_.ho : first_i + block_.rows); ++row) {
        const std::int64_t pixel = ((image - first_n) * block_.rows + row + shift) * out_width_;
        finish_row(finish, (pixel + left_ / shape_.stride_w) * columns_, image, row, args);
      }
  }

  /// Sums of a block in the scratch memory: one product for each pair of planes, joined in int64.
  ConvFinishRows multiply(const std::uint8_t* a, const ConvArgs& args, char* scratch) const {
    const auto* b = static_cast<const std::uint8_t*>(args.b);
    auto* acc = reinterpret_cast<std::int32_t*>(scratch);
    const bool wide = args.a_planes * args.b_planes > 1;
    auto* sums = reinterpret_cast<std::int64_t*>(scratch + sum_bytes());
    char* pad = scratch + sum_bytes() * (wide ? 3 : 1);
    const auto correction = [&](int plane) {
      return reinterpret_cast<const std::int32_t*>(b + plane * packed_stride() + correction_start());
    };
    for (int j = 0; j < args.b_planes; ++j)
      for (int i = 0; i < args.a_planes; ++i) {
        octavo::kernels::run(product_,
                             {{DNNL_ARG_SRC, memory_at(x_, a + i * plane_stride(a_))},
                              {DNNL_ARG_WEIGHTS, memory_at(weights_, b + j * packed_stride())},
                              {DNNL_ARG_DST, memory_at(y_, acc)}},
                             pad);
        if (wide)
          conv_isa_avx512vnni.add_sums(sums, acc, correction(j), block_.images * block_.rows * out_width_,
                                       columns_, 8 * (i + j), i + j == 0);
      }
    return {.sums = wide ? sums : nullptr, .acc = acc, .correction = correction(0), .pitch = columns_};
  }

  /// One row of output pixels, whose sums start at `first`.
  void finish_row(ConvFinishRows finish, std::int64_t first, std::int64_t n, std::int64_t row,
                  const ConvArgs& args) const {
    constexpr std::int64_t most = 64;
    std::int64_t out_index[most];
    finish.acc += first;
    if (finish.sums) finish.sums += first;
    finish.columns = shape_.k;
    finish.a_scale = args.a_scale + (args.a_scale_vector ? n : 0);
    finish.b_scale = args.b_scale, finish.b_scale_vector = args.b_scale_vector;
    finish.bias = args.bias;
    finish.out = args.out, finish.integers = args.integers;
    finish.accumulate = args.accumulate;
    finish.out_index = out_index;
    for (std::int64_t j = 0; j < shape_.wo; j += most) {
      finish.rows = std::min(most, shape_.wo - j);
      for (std::int64_t p = 0; p < finish.rows; ++p)
        out_index[p] = ((n * shape_.ho + row) * shape_.wo + j + p) * shape_.k;
      conv_isa_avx512vnni.finish_rows(finish);
      finish.acc += most * columns_;
      if (finish.sums) finish.sums += most * columns_;
    }
  }

  ConvShape shape_;
  View a_;
  std::int64_t columns_;  // outputs, filled up to whole vectors
  std::int64_t filter_rows_, width_, out_width_;
  std::int64_t top_, left_;  // border beyond what this convolution reads
  Block block_;
  std::int64_t blocks_, chunks_;
  Desc x_, y_, weights_;
  Planned product_;
  bool exact_ = false;
};

std::string refuse(const ConvShape& shape, Product product) {
  if (product != Product::forward) return "oneDNN has INT8 kernels for the forward product alone";
  if (!has_vnni()) return "oneDNN's INT8 sums are exact with AVX-512 VNNI alone";
  if (shape.n * shape.ho == 1) return "one row of pixels is not cut into parts";
  if (std::string reason = refuse_tiled(shape, product); !reason.empty()) return reason;
  if (shape.groups > 1) return "groups are not supported";
  return OnednnConvS8(shape, tiled_a_view(shape, product)).exact() ? "" : "oneDNN's sums may be rounded";
}

/// Where views merged to one that oneDNN cannot read, or not exactly, the tiled kernel takes its place.
std::unique_ptr<ConvS8> make(const ConvShape& shape, Product product, const View& a, const View& b) {
  if ((a.left - shape.pad_w) % shape.stride_w == 0) {
    auto made = std::make_unique<OnednnConvS8>(shape, a);
    if (made->exact()) return made;
  }
  return make_tiled(conv_isa_avx512vnni, shape, product, a, b);
}

}  // namespace

extern const ConvS8Candidate onednn_conv_s8;
const ConvS8Candidate onednn_conv_s8 = {"onednn/conv_s8", Isa::avx512vnni, refuse,
                                        tiled_a_view,     tiled_b_view,    make};

}  // namespace octavo::kernels
