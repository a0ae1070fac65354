// Sizes to the description that the kernels walk by.
#include "conv_plan.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "class_steps.h"
#include "shared_tile.h"
#include "tma_plan.h"

namespace octavo::kernels::cuda {
namespace {

constexpr std::int64_t most_index = std::int64_t{1} << 31;
constexpr std::int64_t most_classes = 1 << 16;
constexpr std::int64_t most_bytes = std::int64_t{1} << 35;  // of an operand: offsets of segments are 32-bit

int narrow(std::int64_t value) { return static_cast<int>(value); }

Axis forward_axis(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t stride, std::int64_t pad,
                  std::int64_t dilation) {
  return {narrow(in), narrow(out), narrow(taps), narrow(stride), narrow(pad), narrow(dilation)};
}

Axis transposed_axis(Axis axis) {
  std::swap(axis.in, axis.out);
  axis.transposed = true;
  axis.divisor = std::gcd(axis.stride, axis.dilation);
  return axis;
}

/// What forward and data gradient share: rows are pixels of `out`, the contraction runs over pixels of `in`.
ImplicitGemm pixel_gemm(const ImageLayout& in, const ImageLayout& out, const WeightLayout& w, WeightCopy copy,
                        Axis h, Axis w_axis) {
  ImplicitGemm g;
  g.h = h, g.w = w_axis;
  g.images = in.n, g.groups = in.groups, g.filters = out.c / out.groups;
  g.segments = in.channel_pitch() / segment_bytes;
  g.a_pixel = in.groups * g.segments, g.a_row = in.w * g.a_pixel, g.a_image = in.h * g.a_row;
  g.a_group = g.segments;
  g.b_tap = w.pitch(copy) / segment_bytes, g.b_filter = w.taps * g.b_tap, g.b_group = g.filters * g.b_filter;
  g.out_filter = 1, g.out_pixel = out.c, g.out_row = std::int64_t{out.w} * out.c,
  g.out_image = out.h * g.out_row;
  g.out_group = g.filters, g.b_scale_group = g.filters;
  g.results = out.n * g.out_image;
  return g;
}

ImplicitGemm forward_gemm(const ConvShape& s) {
  return pixel_gemm(x_layout(s), y_layout(s), weight_layout(s), WeightCopy::forward,
                    forward_axis(s.h, s.ho, s.r, s.stride_h, s.pad_h, s.dilation_h),
                    forward_axis(s.w, s.wo, s.s, s.stride_w, s.pad_w, s.dilation_w));
}

ImplicitGemm grad_input_gemm(const ConvShape& s) {
  return pixel_gemm(y_layout(s), x_layout(s), weight_layout(s), WeightCopy::grad_input,
                    transposed_axis(forward_axis(s.h, s.ho, s.r, s.stride_h, s.pad_h, s.dilation_h)),
                    transposed_axis(forward_axis(s.w, s.wo, s.s, s.stride_w, s.pad_w, s.dilation_w)));
}

ImplicitGemm grad_weight_gemm(const ConvShape& s, int places) {
  const std::int64_t inputs = s.c / s.groups;
  ImplicitGemm g;
  g.h = forward_axis(s.h, s.r, s.ho, s.dilation_h, s.pad_h, s.stride_h);
  g.w = forward_axis(s.w, s.s, s.wo, s.dilation_w, s.pad_w, s.stride_w);
  g.images = narrow(inputs), g.filters = narrow(s.k / s.groups), g.groups = narrow(s.groups);
  g.images_inside = true;
  g.segments = places / segment_bytes;
  g.a_pixel = g.segments, g.a_row = narrow(s.w) * g.a_pixel, g.a_image = narrow(s.h) * g.a_row;
  g.a_group = g.images * g.a_image;
  g.b_tap = g.segments, g.b_filter = narrow(s.ho * s.wo) * g.b_tap, g.b_group = g.filters * g.b_filter;
  g.out_image = 1, g.out_pixel = inputs, g.out_row = s.s * inputs, g.out_filter = s.r * g.out_row;
  g.out_group = g.filters * g.out_filter;
  g.a_scale_group = g.images, g.b_scale_group = g.filters;
  g.results = s.k * g.out_filter;
  return g;
}

/// Classes that samples of the caller's shape may have: its linear rows are one sample.
int classes_used(const ConvShape& caller, const ConvOptions& options) {
  return narrow(std::min<std::int64_t>(options.sample_classes, caller.n));
}
int batch_places(const ConvShape& shape, int classes) {
  return most_segments(narrow(shape.n), classes) * segment_bytes;
}

ImplicitGemm gemm_of(const ConvShape& caller, Product product, const ConvOptions& options) {
  const ConvShape shape = rows_as_batch(caller);
  ImplicitGemm g = product == Product::forward ? forward_gemm(shape)
                   : product == Product::grad_input
                       ? grad_input_gemm(shape)
                       : grad_weight_gemm(shape, batch_places(shape, classes_used(caller, options)));
  for (int which = 0; which < g.classes(); ++which)
    g.class_rows = std::max(g.class_rows, gemm_class(g, which).rows(g));
  return g;
}

int most_steps(const ImplicitGemm& g, const TmaSteps& tma) {
  int most = 0;
  for (int which = 0; which < g.classes(); ++which)
    most = std::max(most,
                    tma.step_bytes > 0 ? tma_steps(tma_class(g, tma, which)) : gemm_class(g, which).steps());
  return most;
}

/// Small tiles where wide ones would leave half of the device idle or half empty.
TileKind choose_tile(const ImplicitGemm& g, int processors) {
  const Int128 wide = Int128{ceil_div(g.class_rows, WideTile::m)} * ceil_div(g.filters, WideTile::n);
  if (g.class_rows <= 64 || wide * g.classes() * g.groups < processors / 2) return TileKind::small;
  return g.filters <= 64 ? TileKind::narrow : TileKind::wide;
}

TileKind tile_of(const ImplicitGemm& g, const ConvOptions& options) {
  return options.tile.value_or(choose_tile(g, options.processors));
}

TileGrid grid_of(const ImplicitGemm& g, TileKind tile) {
  return {narrow(ceil_div(g.class_rows, tile_rows(tile))), narrow(ceil_div(g.filters, tile_columns(tile))),
          g.classes(), g.groups};
}

/// Parts of the contraction: as many as int32 sums need, or as fill the device with at least 1 KiB each. Each
/// of `ranges` sample classes may end with a step that it does not fill.
void split(ImplicitGemm& g, const TileGrid& grid, const TmaSteps& tma, const ConvOptions& options,
           int ranges) {
  const std::int64_t bound = options.a_unsigned ? longest_unsigned_sum : longest_signed_sum;
  const int bytes = tma.step_bytes > 0 ? tma.step_bytes : WideTile::k_bytes;
  const std::int64_t most = bound / bytes, steps = std::max(most_steps(g, tma) + ranges, 1);
  const std::int64_t needed = std::max<std::int64_t>(ceil_div(steps, most), options.least_splits);
  const std::int64_t filling =
      ceil_div(2 * std::int64_t{options.processors}, std::max<std::int64_t>(grid.blocks(), 1));
  const std::int64_t useful = std::max<std::int64_t>(steps * bytes / 1024, 1);
  // Sums of 2^28 products need 4081 at most, so that the bound never keeps an int32 from holding its sum.
  const std::int64_t bounded = most_parts / (options.a_planes * options.b_planes);
  const std::int64_t splits = std::min({steps, std::max(needed, std::min(filling, useful)), bounded});
  g.split_steps = narrow(std::min(ceil_div(steps, splits), most));
  g.splits = narrow(ceil_div(steps, g.split_steps)), g.most_steps = narrow(most);
  const int octaves = chain_octaves(g.split_steps, g.most_steps);
  g.sums = ranges == 0 ? g.splits : most_sums(g.splits, octaves, options.sample_classes, ranges);
}

/// Offsets inside of an image and of a filter are 32-bit, and so are coordinates.
std::string refuse_sizes(const ConvShape& s, int classes) {
  constexpr std::int64_t most = 1 << 28;
  for (std::int64_t size : {s.n, s.h, s.w, s.c, s.k, s.r, s.s, s.ho, s.wo, s.stride_h, s.stride_w,
                            s.dilation_h, s.dilation_w, s.groups, s.pad_h + 1, s.pad_w + 1})
    if (size < 1 || size >= most) return "sizes must be between 1 and 2^28";
  if (s.c % s.groups != 0 || s.k % s.groups != 0) return "groups must divide channels and filters";
  const Int128 inputs = whole_segments(s.c / s.groups), outputs = whole_segments(s.k / s.groups);
  const Int128 pixel = std::max({inputs * s.groups, outputs * s.groups, Int128{batch_places(s, classes)}});
  const Int128 height = std::max(s.h, s.ho) + 2 * (s.pad_h + Int128{s.r} * s.dilation_h);
  const Int128 width = std::max(s.w, s.wo) + 2 * (s.pad_w + Int128{s.s} * s.dilation_w);
  if (height * s.stride_h >= most || width * s.stride_w >= most || pixel >= most)
    return "strides, dilations or channels are too large";
  if (height * width * pixel >= most_index)
    return "an image is above 2 GiB; use fewer pixels or a smaller batch";
  if (std::max(inputs, outputs) * s.r * s.s >= most_index) return "a filter is above 2 GiB";
  return {};
}

/// Bytes of the larger one of a product.
std::int64_t largest_operand(const ConvShape& s, Product product, int places) {
  ImageLayout x = x_layout(s), y = y_layout(s);
  x.places = y.places = places;
  if (product == Product::grad_weight) return std::max(x.batch_copy_bytes(), y.batch_copy_bytes());
  const bool forward = product == Product::forward;
  return std::max((forward ? x : y).pixel_copy_bytes(),
                  weight_layout(s).bytes(forward ? WeightCopy::forward : WeightCopy::grad_input));
}

struct AskedKernels {
  std::optional<Family> family = {};
  Library library = Library::none;
};
AskedKernels asked_kernels() {
  const char* value = std::getenv("OCTAVO_CUDA_KERNELS");
  const std::string name = value == nullptr ? "" : value;
  if (name.empty()) return {};
  if (name == "cublaslt") return {.library = Library::cublaslt};
  if (name == "cudnn") return {.library = Library::cudnn};
  for (const Family family : all_families)
    if (name == family_name(family)) return {.family = family};
  throw std::runtime_error("OCTAVO_CUDA_KERNELS=" + name +
                           " is unknown; choose mma, dp4a, wgmma, cublaslt or cudnn");
}

}  // namespace

const char* family_name(Family family) {
  if (family == Family::mma) return "mma";
  return family == Family::dp4a ? "dp4a" : "wgmma";
}

std::optional<Family> asked_family() { return asked_kernels().family; }
Library active_library() { return asked_kernels().library; }

ConvOptions options_for(Family family, ConvOptions options) {
  if (family == Family::dp4a) options.tile = TileKind::small;
  if (family == Family::mma && options.tile == TileKind::broad) options.tile = TileKind::wide;
  const char* tma = std::getenv("OCTAVO_CUDA_TMA");
  options.tma = family == Family::wgmma && (tma == nullptr || std::string(tma) != "0");
  return options;
}

int tile_rows(TileKind tile) { return tile == TileKind::small ? SmallTile::m : WideTile::m; }
int tile_columns(TileKind tile) {
  if (tile == TileKind::broad) return BroadGroups::n;
  return tile == TileKind::wide ? WideTile::n : NarrowTile::n;
}

ConvShape rows_as_batch(ConvShape s) {
  const bool linear =
      s.n == 1 && s.h == 1 && s.ho == 1 && s.r == 1 && s.s == 1 && s.stride_w == 1 && s.pad_w == 0;
  if (linear && s.pad_h == 0 && s.w == s.wo) s.n = s.w, s.w = s.wo = 1;
  return s;
}

bool is_matrix_product(const ConvShape& s) {
  return s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0 &&
         s.groups == 1;
}

ImageLayout ConvPlan::x() const {
  ImageLayout layout = x_layout(shape);
  if (by_class()) layout.places = gemm.segments * segment_bytes;
  return layout;
}
ImageLayout ConvPlan::y() const {
  ImageLayout layout = y_layout(shape);
  if (by_class()) layout.places = gemm.segments * segment_bytes;
  return layout;
}

ImageLayout x_layout(const ConvShape& s) {
  return {narrow(s.n), narrow(s.h), narrow(s.w), narrow(s.c), narrow(s.groups)};
}
ImageLayout y_layout(const ConvShape& s) {
  return {narrow(s.n), narrow(s.ho), narrow(s.wo), narrow(s.k), narrow(s.groups)};
}
WeightLayout weight_layout(const ConvShape& s) {
  return {narrow(s.k), narrow(s.r * s.s), narrow(s.c), narrow(s.groups)};
}

std::int64_t ConvPlan::a_bytes() const {
  if (product == Product::grad_weight) return x().batch_copy_bytes();
  return (product == Product::forward ? x() : y()).pixel_copy_bytes();
}
std::int64_t ConvPlan::b_bytes() const {
  if (product == Product::grad_weight) return y().batch_copy_bytes();
  return weight_layout(shape).bytes(product == Product::forward ? WeightCopy::forward
                                                                : WeightCopy::grad_input);
}

std::string describe_conv(const ConvShape& s, Product product, const char* kernel) {
  std::ostringstream text;
  text << kernel << " " << product_name(product) << " of X " << s.n << "x" << s.h << "x" << s.w << "x" << s.c
       << ", W " << s.k << "x" << s.r << "x" << s.s << "x" << s.c / std::max<std::int64_t>(s.groups, 1)
       << ", Y " << s.ho << "x" << s.wo << ", " << s.groups << " groups: ";
  return text.str();
}

std::string refuse_conv(const ConvShape& caller, Product product, const ConvOptions& options) {
  const ConvShape s = rows_as_batch(caller);
  const auto because = [&](const std::string& reason) { return describe_conv(caller, product) + reason; };
  const int classes = options.sample_classes;
  if (classes < 0 || classes > most_ranges || (classes > 0 && product != Product::grad_weight))
    return because("sample classes are at most 48, of the weight gradient");
  const std::string size = refuse_sizes(s, classes_used(caller, options));
  if (!size.empty()) return because(size);
  for (int planes : {options.a_planes, options.b_planes})
    if (planes < 1 || planes > most_planes) return because("operands have 1 to 3 planes");
  if (options.a_unsigned && (options.a_planes > 1 || product == Product::grad_input))
    return because("unsigned operands are X in one plane");
  if (product == Product::grad_input && s.stride_h * s.stride_w >= most_classes)
    return because("strides whose product is 2^16 or more");
  const ImplicitGemm g = gemm_of(caller, product, options);
  if (g.class_rows >= most_index) return because("2^31 rows of results or more; use a smaller batch");
  if (largest_operand(s, product, batch_places(s, classes_used(caller, options))) >= most_bytes)
    return because("an operand of 32 GiB or more; use a smaller batch");
  const TileGrid grid = grid_of(g, tile_of(g, options));
  if (Int128{grid.m_tiles} * grid.n_tiles * grid.classes * grid.groups >= most_blocks)
    return because("2^31 tiles of results or more; use a smaller batch");
  const Int128 terms = Int128{g.h.taps} * g.w.taps * g.segments * segment_bytes;
  if (terms >= std::int64_t{1} << 28) return because("sums of 2^28 products or more; use a smaller batch");
  const auto largest = [](int planes) { return planes == 1 ? 255 : largest_integer(planes); };
  const int octaves = classes > 0 ? (classes - 1) / 2 : 0;
  if ((terms * largest(options.a_planes) * largest(options.b_planes)) << octaves >= Int128{1} << 63)
    return because(
        "sums of so many planes may exceed int64; use fewer planes or classes, or a smaller batch");
  return {};
}

ConvPlan plan_conv(const ConvShape& caller, Product product, const ConvOptions& options) {
  const std::string reason = refuse_conv(caller, product, options);
  if (!reason.empty()) throw std::invalid_argument(reason);
  ConvPlan plan{.shape = rows_as_batch(caller), .product = product, .options = options};
  plan.one_sample = caller.n == 1;
  plan.name = describe_conv(caller, product);
  plan.gemm = gemm_of(caller, product, options);
  plan.tile = tile_of(plan.gemm, options);
  plan.grid = grid_of(plan.gemm, plan.tile);
  if (options.tma && refuse_tma(plan).empty()) plan.tma = plan_tma(plan);
  split(plan.gemm, plan.grid, plan.tma, options, classes_used(caller, options));
  return plan;
}

}  // namespace octavo::kernels::cuda
