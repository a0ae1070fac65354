// Forward and grad_input of the depthwise integer convolution, where every channel is a product of its own;
// all three products read `rows` views.
#include "depthwise_s8.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "conv_axes.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

/// Channels of a rows view are a multiple of this: blocks then start inside it, and the slack covers the last
/// one.
constexpr std::int64_t channel_unit = 16;

/// forward and grad_input.
class DepthwisePixelProduct final : public ConvS8 {
 public:
  DepthwisePixelProduct(const DepthwiseIsa& isa, const ConvShape& shape, Product product, const View& a)
      : isa_(isa), shape_(shape), forward_(product == Product::forward), a_(a) {
    const ConvAxes axes = conv_axes(shape, product);
    for (const ConvAxis& h : axes.h)
      for (const ConvAxis& w : axes.w) add_class(h, w);
    const std::int64_t pixels = forward_ ? shape.ho * shape.wo : shape.h * shape.w;
    results_ = shape.n * pixels * shape.c;
  }
  std::int64_t packed_bytes() const override { return packed_bytes_; }
  void pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const override {
    const std::int64_t blocks = ceil_div(shape_.c, isa_.block);
    parallel(static_cast<std::int64_t>(classes_.size()) * blocks, [&](std::int64_t item) {
      const PixelClass& pixels = classes_[static_cast<std::size_t>(item / blocks)];
      const auto pack = isa_.weight_bytes == 1 ? &DepthwisePixelProduct::pack_channels<std::int8_t>
                                               : &DepthwisePixelProduct::pack_channels<std::int16_t>;
      (this->*pack)(pixels, item % blocks, weights, static_cast<std::uint8_t*>(packed));
    });
  }
  void run(const ConvArgs& args, const Parallel& parallel) const override {
    parallel(a_.n * row_parts, [&](std::int64_t item) {
      for (const PixelClass& pixels : classes_) {
        const std::int64_t step = rows_at_once(pixels, args), steps = ceil_div(pixels.h.size, step);
        const auto row = [&](std::int64_t part) {
          return std::min(pixels.h.size, steps * part / row_parts * step);
        };
        run_rows(pixels, item / row_parts, row(item % row_parts), row(item % row_parts + 1), args);
      }
      if (streams(args)) std::atomic_thread_fence(std::memory_order_seq_cst);  // orders streaming stores
    });
  }

  bool takes_parts(const ConvArgs& args, const ResultParts& parts) const override {
    bool whole_rows = forward_ && !streams(args);
    for (std::int64_t part = 0; whole_rows && part < parts.count; ++part)
      whole_rows = parts.border(part) % shape_.wo == 0;
    return whole_rows;
  }
  void run_parts(const ConvArgs& args, const ResultParts& parts, const Parallel& parallel) const override {
    const std::int64_t rows = shape_.ho;
    const auto run_range = [&](std::int64_t row, std::int64_t end) {  // counted through all samples
      while (row < end) {
        const std::int64_t sample = row / rows, sample_end = std::min(end, (sample + 1) * rows);
        run_rows(classes_[0], sample, row - sample * rows, sample_end - sample * rows, args);
        row = sample_end;
      }
    };
    run_range(0, 1);
    parts.first_pixel();
    parallel(parts.count, [&](std::int64_t part) {
      run_range(parts.border(part) / shape_.wo, parts.border(part + 1) / shape_.wo);
      parts.written(part);
    });
  }

 private:
  struct PixelClass {
    ConvAxis h, w;
    std::vector<std::int64_t> offsets, taps;     // filled up to whole units by taps of weight 0 (index -1)
    std::int64_t slide;                          // as in DepthwisePixels
    bool two_rows;                               // may be taken together
    std::vector<std::int64_t> second_offsets{};  // then: with the last row of taps of the second row
    std::int64_t weights = 0, correction = 0;    // where they start in the packed weights
    std::int64_t units(const DepthwiseIsa& isa) const {
      return static_cast<std::int64_t>(offsets.size()) / isa.unit_taps;
    }
    std::int64_t row_bytes(const DepthwiseIsa& isa) const { return units(isa) * isa.unit_bytes(); }
    std::int64_t block_bytes(const DepthwiseIsa& isa) const { return row_bytes(isa) * (two_rows ? 2 : 1); }
  };

  void add_class(const ConvAxis& h, const ConvAxis& w) {
    PixelClass pixels{.h = h, .w = w, .offsets = {}, .taps = {}, .slide = slide(h, w), .two_rows = false};
    pixels.two_rows = pixels.slide == 1 && h.in_step == 1 && neighbours(h) &&
                      static_cast<std::int64_t>(h.taps.size()) < isa_.unit_taps;
    for (const ConvAxis::Tap& tap_w : w.taps) {
      for (const ConvAxis::Tap& tap_h : h.taps) {
        pixels.offsets.push_back((a_.top + tap_h.in) * row_bytes(a_) +
                                 (a_.left + tap_w.in) * a_.channel_pitch);
        pixels.taps.push_back(tap_h.index * shape_.s + tap_w.index);
      }
      if (pixels.slide > 0) fill_unit(pixels);
    }
    fill_unit(pixels);
    if (pixels.two_rows) add_second_row(pixels);
    const std::int64_t blocks = ceil_div(shape_.c, isa_.block);
    pixels.weights = packed_bytes_;
    pixels.correction = pixels.weights + blocks * pixels.block_bytes(isa_);
    packed_bytes_ = round_up(pixels.correction + blocks * isa_.block * 4, 64);
    classes_.push_back(pixels);
  }

  static bool neighbours(const ConvAxis& axis) {
    bool all = true;
    for (std::size_t t = 1; t < axis.taps.size(); ++t)
      all = all && axis.taps[t].in == axis.taps[t - 1].in + 1;
    return all;
  }

  /// Units are columns of taps, no more of them than of taps in any order, and neighbours have one or two of
  /// three in common.
  std::int64_t slide(const ConvAxis& h, const ConvAxis& w) const {
    const auto rows = static_cast<std::int64_t>(h.taps.size()),
               columns = static_cast<std::int64_t>(w.taps.size());
    const bool slides = isa_.slides && columns == 3 && w.in_step <= 2 && neighbours(w) &&
                        rows <= isa_.unit_taps && ceil_div(rows * columns, isa_.unit_taps) == columns;
    return slides ? w.in_step : 0;
  }

  void fill_unit(PixelClass& pixels) const {
    while (static_cast<std::int64_t>(pixels.offsets.size()) % isa_.unit_taps) {
      pixels.offsets.push_back(pixels.offsets.front());
      pixels.taps.push_back(-1);
    }
  }

  /// The second row's taps are those of the first one tap further down the column.
  void add_second_row(PixelClass& pixels) const {
    const std::size_t unit = static_cast<std::size_t>(isa_.unit_taps), rows = pixels.h.taps.size();
    pixels.second_offsets = pixels.offsets;
    for (std::size_t column = 0; column < pixels.offsets.size(); column += unit)
      pixels.second_offsets[column + rows] = pixels.offsets[column + rows - 1] + row_bytes(a_);
  }

  /// A block of channels.
  template <class Weight>
  void pack_channels(const PixelClass& pixels, std::int64_t block, const std::int8_t* weights,
                     std::uint8_t* packed) const {
    const std::int64_t units = pixels.units(isa_), first = block * isa_.block;
    auto* target = reinterpret_cast<Weight*>(packed + pixels.weights + block * pixels.block_bytes(isa_));
    auto* sums = reinterpret_cast<std::uint32_t*>(packed + pixels.correction) + first;
    std::fill_n(sums, isa_.block, 0u);
    for (std::int64_t row = 0; row < (pixels.two_rows ? 2 : 1); ++row)
      for (std::int64_t unit = 0; unit < units; ++unit)
        for (std::int64_t channel = 0; channel < isa_.block; ++channel) {
          const std::int8_t* const filter = weights + (first + channel) * shape_.r * shape_.s;
          std::int32_t sum = 0;
          for (std::int64_t t = -row; t < isa_.unit_taps - row; ++t) {
            const std::int64_t tap =
                t < 0 ? -1 : pixels.taps[static_cast<std::size_t>(unit * isa_.unit_taps + t)];
            const Weight weight = tap < 0 || first + channel >= shape_.c ? 0 : filter[tap];
            *target++ = weight;  // little endian
            sum += weight;
          }
          if (row == 0) sums[channel] += static_cast<std::uint32_t>(sum) * a_.zero;
        }
  }

  /// The result is larger than a cache.
  bool streams(const ConvArgs& args) const {
    return !args.accumulate && results_ * float_bytes(args.out.type) > streamed_bytes;
  }

  std::int64_t rows_at_once(const PixelClass& pixels, const ConvArgs& args) const {
    return pixels.two_rows && args.a_planes * args.b_planes == 1 ? 2 : 1;
  }

  /// Output rows [begin, end) of a class in sample n.
  void run_rows(const PixelClass& pixels, std::int64_t n, std::int64_t begin, std::int64_t end,
                const ConvArgs& args) const {
    const std::int64_t step = rows_at_once(pixels, args);
    for (std::int64_t i = begin; i < end; i += step) run_row(pixels, n, i, std::min(step, end - i), args);
  }

  /// Output row i, or two.
  void run_row(const PixelClass& pixels, std::int64_t n, std::int64_t i, std::int64_t rows,
               const ConvArgs& args) const {
    const std::int64_t out_h = forward_ ? shape_.ho : shape_.h, out_w = forward_ ? shape_.wo : shape_.w;
    const std::int64_t y = pixels.h.first + i * pixels.h.step;
    const std::int64_t first = ((n * out_h + y) * out_w + pixels.w.first) * shape_.c;
    const auto* packed = static_cast<const std::uint8_t*>(args.b);
    const DepthwisePixels row = {
        .in = static_cast<const std::uint8_t*>(args.a) + n * sample_bytes(a_) +
              i * pixels.h.in_step * row_bytes(a_),
        .in_step = pixels.w.in_step * a_.channel_pitch,
        .offsets = (rows == 2 ? pixels.second_offsets : pixels.offsets).data(),
        .units = pixels.units(isa_),
        .slide = pixels.slide,
        .weights = packed + pixels.weights,
        .block_bytes = pixels.block_bytes(isa_),
        .row_bytes = pixels.row_bytes(isa_),
        .correction = reinterpret_cast<const std::int32_t*>(packed + pixels.correction),
        .channels = shape_.c,
        .pixels = pixels.w.size,
        .rows = rows,
        .out_step = pixels.w.step * shape_.c,
        .out_row = pixels.h.step * out_w * shape_.c,
        .a_scale = args.a_scale[args.a_scale_vector ? n : 0],
        .b_scale = args.b_scale,
        .b_scale_vector = args.b_scale_vector,
        .bias = args.bias,
        .out = args.out ? args.out + first : FloatTarget{},
        .accumulate = args.accumulate,
        .stream = streams(args),
        .integers = args.integers ? args.integers + first : nullptr,
        .sums = nullptr};
    if (args.a_planes * args.b_planes == 1) return isa_.pixels(row);
    for (std::int64_t channel = 0; channel < shape_.c; channel += piece_channels)
      for (std::int64_t pixel = 0; pixel < pixels.w.size; pixel += piece_pixels)
        run_planes(row, channel, pixel, args);
  }

  /// A piece of a row whose int64 sums stay in the L1 cache while the pairs of planes add to them.
  void run_planes(const DepthwisePixels& row, std::int64_t channel, std::int64_t pixel,
                  const ConvArgs& args) const {
    alignas(64) std::int64_t sums[piece_channels * piece_pixels];
    DepthwisePixels piece = row;
    piece.channels = std::min(piece_channels, row.channels - channel);
    piece.pixels = std::min(piece_pixels, row.pixels - pixel);
    piece.in += pixel * row.in_step + channel;
    const std::int64_t out = pixel * row.out_step + channel;
    if (row.out) piece.out = row.out + out;
    if (row.integers) piece.integers += out;
    if (row.bias) piece.bias += channel;
    if (row.b_scale_vector) piece.b_scale += channel;
    piece.sums = sums, piece.sums_pitch = piece_channels;
    const std::uint8_t* in = piece.in;
    const auto* weights =
        static_cast<const std::uint8_t*>(row.weights) + channel / isa_.block * row.block_bytes;
    for (int j = 0; j < args.b_planes; ++j)
      for (int i = 0; i < args.a_planes; ++i) {
        piece.in = in + i * plane_stride(a_);
        piece.weights = weights + j * packed_stride();
        piece.correction = row.correction + channel + j * packed_stride() / 4;
        piece.shift = 8 * (i + j);
        piece.first = i + j == 0, piece.last = i + 1 == args.a_planes && j + 1 == args.b_planes;
        isa_.pixels(piece);
      }
  }

  static constexpr std::int64_t piece_channels = 128, piece_pixels = 24;
  static constexpr std::int64_t row_parts = 4;  // of each sample
  const DepthwiseIsa& isa_;
  ConvShape shape_;
  bool forward_;
  View a_;
  std::vector<PixelClass> classes_;
  std::int64_t packed_bytes_ = 0;
  std::int64_t results_;
};

std::string refuse(const ConvShape& shape, Product product) {
  if (!shape.depthwise()) return "not depthwise";
  if (product == Product::grad_weight && shape.wo > longest_s8_sum) return "an image row does not fit int32";
  return {};
}

View a_view(const ConvShape& shape, Product product) {
  return conv_rows_view(shape, product == Product::grad_weight ? Product::forward : product, channel_unit);
}

View b_view(const ConvShape& shape, Product product) {
  if (product != Product::grad_weight) return {};
  View view{.layout = Layout::rows, .n = shape.n, .h = shape.ho, .w = shape.wo, .c = shape.k};
  view.channel_pitch = round_up(shape.k, channel_unit);
  return view;
}

template <const DepthwiseIsa& isa>
std::unique_ptr<ConvS8> make(const ConvShape& shape, Product product, const View& a, const View& b) {
  if (product == Product::grad_weight) return make_depthwise_grad_weight(isa, shape, a, b);
  return std::make_unique<DepthwisePixelProduct>(isa, shape, product, a);
}

}  // namespace

extern const DepthwiseIsa depthwise_isa_avx512vnni, depthwise_isa_avx2;
extern const ConvS8Candidate depthwise_s8_avx512vnni, depthwise_s8_avx2;
const ConvS8Candidate depthwise_s8_avx512vnni = {
    "avx512vnni/depthwise_s8", Isa::avx512vnni, refuse, a_view, b_view, make<depthwise_isa_avx512vnni>};
const ConvS8Candidate depthwise_s8_avx2 = {"avx2/depthwise_s8",     Isa::avx2, refuse, a_view, b_view,
                                           make<depthwise_isa_avx2>};

}  // namespace octavo::kernels
