// What every kernel computes, independent of instruction set. Kernels include headers of this folder only.
// The plain C++ of kernels/ref defines the meaning; an integer kernel equals it bit for bit, a float kernel
// within the bound stated here. Nothing here allocates while it runs; scratch memory comes from the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "floats.h"
#include "function_ref.h"
#include "random.h"

namespace octavo::kernels {

__extension__ using Int128 = __int128;  // sums that int64 could not hold

/// Runs body(chunk) for every chunk in [0, chunks); order and threads are the caller's business.
using Parallel = std::function<void(std::int64_t chunks, FunctionRef<void(std::int64_t)> body)>;

enum class Isa : std::uint8_t { ref, avx2, avx512vnni };
const char* isa_name(Isa isa);
bool isa_supported(Isa isa);
/// The best supported ISA, or the one that OCTAVO_ISA (ref|avx2|avx512vnni) names; throws std::runtime_error
/// when the name is unknown or the CPU lacks it. Kernels above it are never chosen.
Isa active_isa();
/// Tests only: changes what active_isa() answers.
void force_isa(Isa isa);

/// Whether kernels of avx512vnni may convert to bfloat16 by the CPU's own instruction (AVX512-BF16).
bool converts_bf16();
/// Tests only: without it where not allowed.
void allow_bf16_conversion(bool allowed);

// ---- Views: physical layouts of an integer tensor [n, h, w, c]
// ------------------------------------------------

enum class Layout : std::uint8_t {
  plain,   ///< s8 [n][h][w][c], dense: the logical order
  rows,    ///< u8 = value + zero, [n][top + h + bottom][left + w + right][channel_pitch]; border and pad hold
           ///< zero
  planes,  ///< u8 = value + zero, pixel-contiguous: [n][c][phase_h * phase_w][plane]; for the weight
           ///< gradient's X
  quads,   ///< s8, [n][plane / 4][channel_pitch][4]: four neighbouring pixels per channel; for the weight
           ///< gradient's G
  pixels,  ///< s8 or u8, [n][h][w][groups][channel_pitch]: the GPU's forward X and grad_input G
  batch,   ///< s8 or u8, [c][pitch][plane], the batch innermost: the GPU's weight gradient
};

/// One physical copy of an integer tensor. A view starts at a multiple of 64 bytes; every byte of its layout
/// is written, the 64 bytes of slack behind it hold anything. Byte by byte (write_view of kernels/ref is the
/// same in code), with height = top + h + bottom and width = left + w + right:
///
/// `rows`: value (m, i, j, ch) is byte
///     ((m * height + top + i) * width + left + j) * channel_pitch + ch
/// and all other bytes (border, channels >= c) are `zero`.
///
/// `planes`: byte q < plane of phase (a, b) is
///     ((m * c + ch) * phase_h * phase_w + a * phase_w + b) * plane + q
/// and stands for row (q / pitch) * phase_h + a and column (q % pitch) * phase_w + b of the image that `top`
/// rows above and `left` columns before the first pixel extend without end: `zero` where that is outside the
/// h x w pixels. Pixels that no byte stands for are not stored. `bottom` and `right` are 0.
///
/// `quads`: byte q < plane is
///     ((m * (plane / 4) + q / 4) * channel_pitch + ch) * 4 + q % 4
/// and stands for pixel (q / pitch, q % pitch): 0 where q / pitch >= h, q % pitch >= w or ch >= c. plane is a
/// multiple of 4. No border, no phases.
///
/// `pixels`: channel i of group g of pixel p = (m * h + row) * w + column is byte
///     (p * groups + g) * channel_pitch + i, i < c / groups
/// and other bytes are 0. `batch`: channel ch of that pixel is byte
///     (ch * pitch + p % pitch) * plane + p / pitch
/// and other bytes are 0. pitch is h * w, so that p / pitch is the sample, or 1 with n = 1: the rows of a
/// linear layer are a batch. Planes of both begin at multiples of 256 bytes.
struct View {
  Layout layout = Layout::plain;
  std::int64_t n = 0, h = 0, w = 0, c = 0;                // logical sizes, without border
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;  // rows, planes: border in pixels
  std::int64_t channel_pitch = 0;                         // rows, quads: channels stored, >= c
  std::int64_t phase_h = 1, phase_w = 1;                  // planes
  std::int64_t pitch = 0, plane = 0;  // planes, quads: pixels per row, bytes (pixels) per plane
  std::int64_t groups = 1;            // pixels
  std::uint8_t zero = 128;     // rows, planes: the byte that stands for 0; else: 0 for u8 in place of s8
  std::int64_t bytes() const;  // including slack that a vector load may touch
  bool operator==(const View&) const = default;
};

// An integer wider than 8 bits is a sum of digits to the base 256, q = d_0 + 256 d_1 + 65536 d_2, low digits
// in
// [-128, 127], the top one in [-127, 127]. Each digit has its own copy of a view, a *plane*, low digit first.
constexpr int most_planes = 3;
/// Largest |q| of so many planes, 127 (256^planes - 1) / 255.
constexpr std::int64_t largest_integer(int planes) {
  return planes == 1 ? 127 : planes == 2 ? 32639 : 8355711;
}
/// Bytes from one plane of a view to the next, and of all of them.
std::int64_t plane_stride(const View& view);
std::int64_t planes_bytes(const View& view, int planes);

/// One view that serves the readers of both: equal views, or two `rows` views of the same sizes (the larger
/// border on each side, the larger channel_pitch); false, and `into` unchanged, when that is impossible.
bool merge_views(View& into, const View& other);

/// The meaning of the layouts: makes any view from the plain tensor [n][h][w][c], s8 or, where view.zero is
/// 0, u8, and reads it back
/// (pixels that the view does not store are left unchanged in `plain`).
void write_view(const std::int8_t* plain, const View& view, void* target);
void read_view(const void* source, const View& view, std::int8_t* plain);

// ---- Integer products of a convolution
// ------------------------------------------------------------------------

enum class Product : std::uint8_t { forward, grad_input, grad_weight };
const char* product_name(Product product);

/// Sizes of a two-dimensional convolution: X [n, h, w, c], W [k, r, s, c / groups], Y [n, ho, wo, k].
/// A linear layer over m rows is n = 1, h = 1, w = m, r = s = 1.
struct ConvShape {
  std::int64_t n = 1, h = 1, w = 1, c = 1, k = 1, r = 1, s = 1, ho = 1, wo = 1;
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
  bool depthwise() const { return groups == c && k == c && c > 1; }
  std::int64_t macs() const { return n * ho * wo * k * r * s * (c / groups); }
  bool operator==(const ConvShape&) const = default;
};

constexpr int most_sample_class = 47;
constexpr float sqrt2 = 1.41421356f;

/// Operands, result and scales of one run. Products over INT8 values in [-127, 127] (exact with -128 too; X
/// of a view with zero = 0 in [0, 255])
/// accumulate in int32 exactly; longer reductions are split and joined in int64. Operands of several planes
/// take one such product for each pair of planes, and their sums are joined exactly, in more than int64 where
/// that is needed. Then, left to right,
///     out = float(sum) * (a_scale * b_scale) [+ bias]   [+ out when accumulate]
/// with
///   forward      A = X, B = W, out Y [n, ho, wo, k]
///                a_scale per tensor or sample n, b_scale per tensor or k
///   grad_input   A = G, B = W, out dX [n, h, w, c]
///                a_scale per tensor or sample n, b_scale per tensor or c
///   grad_weight  A = X, B = G, out dW [k, r, s, c/groups]
///                a_scale per tensor or input channel, b_scale per tensor or k
/// In grad_weight the samples of G may have scale classes: that of sample n is
/// b_scale * 2^(sample_class[n] / 2). Then the sum is taken apart into one over the samples of even and one
/// over those of odd classes, each product times 2^(sample_class[n] / 2) with the half rounded down, exact in
/// any order, and float(sum) is float(sum_even) + float(sum_odd) * sqrt2.
struct ConvArgs {
  const void* a = nullptr;         // in a_view()
  const void* b = nullptr;         // packed weights (forward, grad_input) or b_view() (grad_weight)
  int a_planes = 1, b_planes = 1;  // plane_stride() of the view apart; packed weights packed_stride()
  const float* a_scale = nullptr;
  const float* b_scale = nullptr;
  bool a_scale_vector = false, b_scale_vector = false;  // one scale for all, or one per sample / channel
  const float* bias = nullptr;                          // forward only, per k
  FloatTarget out;                                      // grad_weight: FP32
  bool accumulate = false;
  // grad_weight: one class for each sample, in half octaves, at most most_sample_class; null: all 0.
  const std::uint8_t* sample_class = nullptr;
  // When set, the sums go here (order of out), exact modulo 2^64, and `out` is not written; with sample
  // classes the even sums, then the odd ones.
  std::int64_t* integers = nullptr;
  void* scratch = nullptr;  // scratch_bytes(args)
};

/// Of the filters [k, k_end) of W [k, r, s, c / groups], all in one group, the weights [begin, end) of each:
/// whole taps, or a part of one, of at most 32 filters and most_block_channels channels. k, counted in its
/// group, is a multiple of 32, `begin` of 64 in its tap.
struct WeightBlock {
  std::int64_t k, k_end, begin, end;
};
constexpr std::int64_t most_block_channels = 2048;

/// What reads the results of a forward product part by part, on the thread that has computed the part and
/// whose caches hold it: pixels [border(i), border(i + 1)), counted through all samples, with all their
/// channels.
struct ResultParts {
  std::int64_t count;
  FunctionRef<std::int64_t(std::int64_t part)> border;
  FunctionRef<void()> first_pixel;  // before all parts, once: the results of pixel 0 are there
  FunctionRef<void(std::int64_t part)> written;
};

/// One product of one convolution, planned for its sizes and views.
class ConvS8 {
 public:
  virtual ~ConvS8() = default;
  virtual std::int64_t packed_bytes() const { return 0; }  // forward, grad_input: one plane of packed weights
  std::int64_t packed_stride() const { return (packed_bytes() + 63) / 64 * 64; }
  /// Packs W, plain s8 [k, r, s, c / groups], into the order that run() reads. Throws std::logic_error for
  /// grad_weight.
  virtual void pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const;
  /// The same for planes of W that lie `stride` bytes apart; needs planes * packed_stride() bytes.
  void pack_planes(const std::int8_t* weights, std::int64_t stride, int planes, void* packed,
                   const Parallel& parallel) const;
  /// The same block by block, where packs_blocks(): begin_pack(), then blocks that cover W, in any order and
  /// on any thread. `weights` are those of the block, `pitch` bytes from filter to filter.
  virtual bool packs_blocks() const { return false; }
  virtual void begin_pack(void* packed) const;
  virtual void pack_block(const WeightBlock& block, const std::int8_t* weights, std::int64_t pitch,
                          void* packed) const;
  /// Of a run with such arguments: planes count, and whether there are sample classes, not which.
  virtual std::int64_t scratch_bytes(const ConvArgs& args = {}) const;
  virtual void run(const ConvArgs& args, const Parallel& parallel) const = 0;
  /// Whether run_parts() gives what run() does.
  virtual bool takes_parts(const ConvArgs& args, const ResultParts& parts) const;
  virtual void run_parts(const ConvArgs& args, const ResultParts& parts, const Parallel& parallel) const;
};

/// One line of kernel_list.inc.
struct ConvS8Candidate {
  const char* name;  // "avx512vnni/conv_s8"
  Isa isa;
  /// Empty when it can do this product, or the reason why not.
  std::string (*refuse)(const ConvShape&, Product);
  View (*a_view)(const ConvShape&, Product);  // the view of A it needs (any merge_views with it is fine too)
  View (*b_view)(const ConvShape&, Product);  // grad_weight: the view of G; else View{}
  std::unique_ptr<ConvS8> (*make)(const ConvShape&, Product, const View& a, const View& b);
};
std::span<const ConvS8Candidate> conv_s8_candidates();  // fast first, ref last
/// The first candidate that active_isa() allows and that does not refuse; `log` receives one line per
/// refusal.
const ConvS8Candidate& find_conv_s8(const ConvShape&, Product,
                                    const std::function<void(std::string)>& log = {});

// ---- Chains: pointwise steps over [n, h, w, c] tiles, in one pass
// ----------------------------------------------

enum class StepKind : std::uint8_t {
  scale_shift,  ///< v = a[c] * v + b[c]                                          (batch norm, forward)
  add,          ///< v = v + x
  relu,         ///< v = v < 0 ? 0 : v                                            (NaN stays)
  clamp,        ///< v = v < 0 ? 0 : v > hi ? hi : v                              (ReLU6: hi = 6)
  keep_where,   ///< v = v where lo < a[c] * x + b[c] < hi, else 0: the exact ReLU / ReLU6 mask from the saved
                ///< value x
  keep_bits,    ///< v = v where bits, else 0
  combine,      ///< v = (a[c] * v + b[c] * x) + d[c]                             (batch norm, gradient)
  drop,         ///< v = u < lo ? 0 : v * hi, u = random_uniform(key, first_index + element)  (dropout)
  store,        ///< out = v
  store_bits,   ///< bits = lo < v < hi, one bit per element, element i at bit i % 8 of byte i / 8
  sums,         ///< sum_v[c] += v, sum_vx[c] += v * (x - b[c])  (x none: v * v); at most one in a chain
  look,         ///< look(sample, pixels, v): shows the values, for statistics
};

/// Sees whole pixels [pixels][c] of one sample, in any order and by several threads at once.
using LookAt = FunctionRef<void(std::int64_t sample, std::int64_t pixels, const float* v)>;

/// A null a reads as ones, a null b or d as zeros.
struct Step {
  StepKind kind;
  const float* a = nullptr;
  const float* b = nullptr;
  const float* d = nullptr;
  FloatSource x;  // a second tensor of the chain's shape
  FloatTarget out;
  const std::uint8_t* bits = nullptr;
  std::uint8_t* bits_out = nullptr;
  float lo = 0, hi = 3.0e38f;
  RandomKey key;
  std::uint32_t first_index = 0;
  const LookAt* look = nullptr;
};

enum class Rounding : std::uint8_t { nearest, stochastic };  // nearest: ties to even
enum class Granularity : std::uint8_t { tensor, channel, sample };
/// Which integers there are. `odd`: no even ones, 2 round((t - 1) / 2) + 1. `flagged`: 8 bits and a flag for
/// the unit, multiples of 128 where |t| >= 128. Both take several planes; their qmax is one of theirs.
enum class Grid : std::uint8_t { every, odd, flagged };

/// What one quantize pass also counts, exactly and independent of order.
struct QuantizeStats {
  std::uint32_t max_bits =
      0;  // largest bit pattern of |v|: the maximum, and the Inf/NaN detector (>= 0x7f800000)
  std::int64_t saturated = 0;  // elements with |v * inverse_scale| > qmax + 0.5
  Int128 sum_square = 0;       // of the integers, where Quantize::squares
  void merge(const QuantizeStats& other);
};

/// q = round(clamp(v * inverse_scale, -qmax, qmax)), written to all views in one pass, borders included.
/// Stochastic: floor(t + u), t = clamp(...), u = random_bits16(key, first_index + element) / 65536; with
/// several planes, where t + u would lose bits, floor(t) + floor((t - floor(t)) + u). A NaN gives 0.
/// Unsigned: clamped to [0, qmax], bytes of the u8, for values that are never negative.
struct Quantize {
  Granularity granularity = Granularity::tensor;
  const float* inverse_scale = nullptr;  // 1, c or n values
  int planes = 1;
  bool is_unsigned = false;  // one plane, and views with zero = 0
  Grid grid = Grid::every;
  float qmax = 127;  // an integer, at most largest_integer(planes), or 255
  Rounding rounding = Rounding::nearest;
  bool squares = true;  // QuantizeStats::sum_square is counted, else 0
  RandomKey key;
  std::uint64_t first_index = 0;  // logical index of element 0 in the global batch
  std::span<const View> views;
  std::span<void* const> targets;  // one per view, `planes` copies of it
  std::int64_t stride = 0;         // bytes from plane to plane when it is not plane_stride(view)
};

/// v = x (or zero), then the steps tile by tile, then the optional tail. A tile is a whole number of image
/// rows of one sample, or a part of one long row, chosen by sizes alone. `ref` runs the steps one by one;
/// results are bit-equal on all ISAs: plain multiply then add, no contraction.
struct Chain {
  std::int64_t n = 1, h = 1, w = 1, c = 1;
  FloatSource x;
  std::span<const Step> steps;
  const Quantize* quantize = nullptr;  // tail: write integer views
  bool want_max = false;               // tail: fill max_bits; with or without quantize; a NaN is left aside
  // Results of the tails and of `sums`; the vectors are sized by the caller.
  QuantizeStats* stats = nullptr;     // one, merged into; needs quantize
  std::uint32_t* max_bits = nullptr;  // want_max: 1, c or n values by max_granularity, merged into
  Granularity max_granularity = Granularity::tensor;
  // `sums`, c values each, overwritten (or null): FP32 inside a tile, in fixed lanes that take every P-th
  // pixel and are then added in order; FP64 across tiles, in the order of tiles, then of chunks.
  double* sum_v = nullptr;
  double* sum_vx = nullptr;
  void* scratch = nullptr;  // chain_scratch_bytes(chain)
};
/// The bits of the largest |value|; a NaN is above all numbers.
std::uint32_t largest_magnitude(const float* values, std::int64_t count);

std::int64_t chain_scratch_bytes(const Chain& chain);
void run_chain(const Chain& chain, const Parallel& parallel);           // active_isa()
void run_chain(Isa isa, const Chain& chain, const Parallel& parallel);  // tests and benchmarks
/// A forward product and a chain over its results: as product.run(), first_pixel() and run_chain(), but chunk
/// by chunk where the product takes that. What the chain's vectors point to may be written by first_pixel().
/// Their scratches do not overlap.
void run_product_chain(const ConvS8& product, const ConvArgs& args, const Chain& chain,
                       FunctionRef<void()> first_pixel, const Parallel& parallel);

}  // namespace octavo::kernels
