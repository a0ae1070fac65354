// Sizes to the description that the FP32 kernels walk by.
#include "conv_f32_plan.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace octavo::kernels::cuda {
namespace {

constexpr std::int64_t most_elements = std::int64_t{1} << 31;
constexpr std::int64_t most_coordinate = 1 << 26;  // 16 places behind the last one count as well
constexpr std::int64_t most_classes = 1 << 16;
/// Products that one FP32 sum takes: more go to parts, which are joined in FP64.
constexpr std::int64_t longest_f32_sum = 1 << 14;
constexpr int most_direct_lines = 4;  // channels or filters of a group

int narrow(std::int64_t value) { return static_cast<int>(value); }

Axis axis(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t stride, std::int64_t pad,
          std::int64_t dilation) {
  return {narrow(in), narrow(out), narrow(taps), narrow(stride), narrow(pad), narrow(dilation)};
}
Axis transposed(Axis axis) {
  std::swap(axis.in, axis.out);
  axis.transposed = true;
  axis.divisor = std::gcd(axis.stride, axis.dilation);
  return axis;
}

/// The image [n, h, w, c] that is gathered from.
void gather_from(ConvF32Gemm& g, std::int64_t h, std::int64_t w, std::int64_t c) {
  g.pixel = static_cast<std::uint32_t>(c), g.row = static_cast<std::uint32_t>(w * c);
  g.image = static_cast<std::uint32_t>(h * w * c);
  g.gather_group = narrow(c / g.groups);
}
void store_to(ConvF32Gemm& g, std::int64_t h, std::int64_t w, std::int64_t c) {
  g.out_pixel = g.out_channels = narrow(c), g.out_row = narrow(w * c), g.out_image = narrow(h * w * c);
  g.out_group = c / g.groups;
  g.results = g.images * h * w * c;
}

ConvF32Gemm gemm_of(const ConvShape& s, Product product) {
  const std::int64_t inputs = s.c / s.groups, filters = s.k / s.groups, filter = s.r * s.s * inputs;
  const auto distance = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
  ConvF32Gemm g;
  g.h = axis(s.h, s.ho, s.r, s.stride_h, s.pad_h, s.dilation_h);
  g.w = axis(s.w, s.wo, s.s, s.stride_w, s.pad_w, s.dilation_w);
  g.images = narrow(s.n), g.groups = narrow(s.groups);
  g.inner = narrow(product == Product::grad_input ? filters : inputs);
  g.lines = narrow(product == Product::grad_input ? inputs : filters);
  if (product == Product::grad_weight) {
    gather_from(g, s.h, s.w, s.c);
    g.plain_line = 1, g.plain_group = filters;
    g.plain_inner = distance(s.k), g.plain_middle = distance(s.wo * s.k),
    g.plain_outer = distance(s.ho * s.wo * s.k);
    g.out_row = narrow(filter), g.out_group = filters * filter, g.results = s.k * filter;
    return g;
  }
  const bool forward = product == Product::forward;
  g.plain_line = distance(forward ? filter : 1), g.plain_inner = distance(forward ? 1 : filter);
  g.plain_middle = distance(inputs), g.plain_outer = distance(s.s * inputs);
  g.plain_group = filters * filter;
  if (forward) {
    gather_from(g, s.h, s.w, s.c), store_to(g, s.ho, s.wo, s.k);
  } else {
    g.h = transposed(g.h), g.w = transposed(g.w);
    gather_from(g, s.ho, s.wo, s.k), store_to(g, s.h, s.w, s.c);
  }
  return g;
}

ConvF32Class class_of(const ConvF32Gemm& g, Product product, int which) {
  if (product == Product::forward) return f32_class<Product::forward>(g, which);
  if (product == Product::grad_input) return f32_class<Product::grad_input>(g, which);
  return f32_class<Product::grad_weight>(g, which);
}

/// Rows and steps of the largest class, and columns.
struct GemmSize {
  std::int64_t rows = 0, columns = 0, steps = 0;
};
GemmSize size_of(const ConvF32Gemm& g, Product product) {
  GemmSize size;
  for (int which = 0; which < g.classes(); ++which) {
    const ConvF32Class c = class_of(g, product, which);
    std::int64_t rows = f32_rows<Product::forward>(g, c), columns = g.lines;
    if (product == Product::grad_weight) rows = g.lines, columns = f32_columns<Product::grad_weight>(g, c);
    size.rows = std::max(size.rows, rows), size.columns = columns;
    size.steps = std::max<std::int64_t>(size.steps, c.steps());
  }
  return size;
}

/// Small tiles where wide ones would leave half of the device idle or half empty, and none where a group has
/// few channels.
F32Kernel choose_kernel(const ConvF32Gemm& g, const GemmSize& size, const ConvF32Options& options) {
  if (options.kernel) return *options.kernel;
  if (g.groups > 1 && g.lines <= most_direct_lines) return F32Kernel::direct;
  const Int128 wide = Int128{ceil_div(size.rows, F32Wide::m)} * ceil_div(size.columns, F32Wide::n);
  if (size.rows <= 64 || wide * g.classes() * g.groups < options.processors / 2) return F32Kernel::small;
  return size.columns <= 64 ? F32Kernel::narrow : F32Kernel::wide;
}

TileGrid grid_of(const ConvF32Gemm& g, const GemmSize& size, F32Kernel kernel) {
  if (kernel == F32Kernel::direct)
    return {narrow(ceil_div(size.rows * size.columns * g.groups, f32_threads)), 1, g.classes(), 1};
  const int m = kernel == F32Kernel::small ? F32Small::m : F32Wide::m;
  const int n = kernel == F32Kernel::wide ? F32Wide::n : F32Narrow::n;
  return {narrow(ceil_div(size.rows, m)), narrow(ceil_div(size.columns, n)), g.classes(), g.groups};
}

/// Parts of the contraction: as many as bound a sum, or as fill the device, `blocks` a processor, with at
/// least 16 steps each.
void split(ConvF32Gemm& g, std::int64_t steps, const TileGrid& grid, const ConvF32Options& options,
           std::int64_t blocks) {
  steps = std::max<std::int64_t>(steps, 1);
  const std::int64_t needed =
      std::max<std::int64_t>(ceil_div(steps, longest_f32_sum / f32_step), options.least_splits);
  const bool alone = options.phase == ConvPhase::evaluation;
  const std::int64_t filling =
      alone ? 1 : ceil_div(blocks * options.processors, std::max<std::int64_t>(grid.blocks(), 1));
  const std::int64_t useful = std::max<std::int64_t>(steps / 16, 1);
  const std::int64_t splits = std::min({steps, std::max(needed, std::min(filling, useful)), most_parts});
  g.split_steps = narrow(ceil_div(steps, splits));
  g.splits = narrow(ceil_div(steps, g.split_steps));
}

/// Coordinates and offsets of elements are 32-bit.
std::string refuse_sizes(const ConvShape& s, Product product) {
  for (std::int64_t size : {s.n, s.h, s.w, s.c, s.k, s.r, s.s, s.ho, s.wo, s.stride_h, s.stride_w,
                            s.dilation_h, s.dilation_w, s.groups, s.pad_h + 1, s.pad_w + 1})
    if (size < 1 || size >= most_elements) return "sizes must be between 1 and 2^31";
  if (s.c % s.groups != 0 || s.k % s.groups != 0) return "groups must divide channels and filters";
  if (product == Product::grad_input && Int128{s.stride_h} * s.stride_w >= most_classes)
    return "strides whose product is 2^16 or more; use smaller strides";
  const Int128 height = s.h + Int128{s.ho} * s.stride_h + 2 * Int128{s.pad_h} + Int128{s.r} * s.dilation_h;
  const Int128 width = s.w + Int128{s.wo} * s.stride_w + 2 * Int128{s.pad_w} + Int128{s.s} * s.dilation_w;
  if (height >= most_coordinate || width >= most_coordinate)
    return "coordinates of pixels reach 2^26; use smaller images, strides or dilations";
  const auto elements = [](Int128 a, std::int64_t b, std::int64_t c, std::int64_t d) {
    const Int128 pixels = std::min<Int128>(a * b, most_elements);  // so that no product leaves 128 bits
    return std::min<Int128>(pixels * c, most_elements) * d;
  };
  if (elements(s.n, s.h, s.w, s.c) >= most_elements) return "X of 2^31 elements or more; use a smaller batch";
  if (elements(s.n, s.ho, s.wo, s.k) >= most_elements)
    return "Y of 2^31 elements or more; use a smaller batch";
  if (elements(s.k, s.r, s.s, s.c / s.groups) >= most_elements)
    return "W of 2^31 elements or more; use fewer or smaller filters";
  return {};
}

}  // namespace

std::string refuse_conv_f32(const ConvShape& s, Product product, const ConvF32Options& options) {
  const auto because = [&](const std::string& reason) {
    return describe_conv(s, product, "cuda/conv_f32") + reason;
  };
  const std::string size = refuse_sizes(s, product);
  if (!size.empty()) return because(size);
  const ConvF32Gemm g = gemm_of(s, product);
  const GemmSize lines = size_of(g, product);
  const TileGrid grid = grid_of(g, lines, choose_kernel(g, lines, options));
  if (Int128{grid.m_tiles} * grid.n_tiles * grid.classes * grid.groups >= most_blocks)
    return because("2^31 tiles of results or more; use a smaller batch or fewer groups");
  return {};
}

ConvF32Plan plan_conv_f32(const ConvShape& s, Product product, const ConvF32Options& options) {
  const std::string reason = refuse_conv_f32(s, product, options);
  if (!reason.empty()) throw std::invalid_argument(reason);
  ConvF32Plan plan{.shape = s, .product = product};
  plan.name = describe_conv(s, product, "cuda/conv_f32");
  plan.gemm = gemm_of(s, product);
  const GemmSize size = size_of(plan.gemm, product);
  plan.kernel = choose_kernel(plan.gemm, size, options);
  plan.grid = grid_of(plan.gemm, size, plan.kernel);
  split(plan.gemm, size.steps, plan.grid, options, plan.kernel == F32Kernel::direct ? 8 : 2);
  return plan;
}

}  // namespace octavo::kernels::cuda
