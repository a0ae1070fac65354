// The integer products of kernel sources on fibers, launched as the host functions of kernels/cuda launch
// them.
#pragma once

#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.
#include "cuda/arguments.h"
#include "cuda/conv_s8_kernel.cuh"
#include "cuda/conv_tma_kernel.cuh"
#include "cuda/depthwise_kernels.cuh"
#include "cuda/join_parts_kernel.cuh"
#include "support/cuda_operands.h"

namespace octavo::kernels::test {

#if OCTAVO_WGMMA
using Matrix = cu::WarpgroupMath;
using Wide = cu::WideGroups;
using Narrow = cu::NarrowGroups;
using Small = cu::SmallGroups;
#else
using Matrix = cu::MatrixMath;
using Wide = cu::WideTile;
using Narrow = cu::NarrowTile;
using Small = cu::SmallTile;
#endif

template <class Shape, class Math, bool by_class>
void launch_conv(const cu::ConvPlan& plan, const cu::ConvRun& run, unsigned seed) {
  const Dim3 grid{static_cast<unsigned>(plan.grid.blocks()), static_cast<unsigned>(plan.parts())};
  launch(grid, Shape::threads, seed, [&] {
    if (plan.options.a_unsigned)
      cu::conv_s8_kernel<Shape, Math, true, by_class>(plan.gemm, plan.grid, run);
    else
      cu::conv_s8_kernel<Shape, Math, false, by_class>(plan.gemm, plan.grid, run);
  });
}

template <bool by_class>
void launch_tile(const cu::ConvPlan& plan, const cu::ConvRun& run, bool dot, unsigned seed) {
#if OCTAVO_WGMMA
  if (plan.tile == cu::TileKind::broad)
    return launch_conv<cu::BroadGroups, Matrix, by_class>(plan, run, seed);
#endif
  if (dot)
    launch_conv<cu::SmallTile, cu::DotMath, by_class>(plan, run, seed);
  else if (plan.tile == cu::TileKind::wide)
    launch_conv<Wide, Matrix, by_class>(plan, run, seed);
  else if (plan.tile == cu::TileKind::narrow)
    launch_conv<Narrow, Matrix, by_class>(plan, run, seed);
  else
    launch_conv<Small, Matrix, by_class>(plan, run, seed);
}

#if OCTAVO_WGMMA
template <int step>
void launch_tma(const cu::ConvPlan& plan, const cu::ConvRun& run, unsigned seed) {
  const cu::ConvTma tma = cu::make_tensor_maps(plan, run.a, run.b);
  const int cluster = plan.tma.cluster;
  const std::int64_t turns = cu::cluster_turns(plan.grid, cluster, plan.parts());
  // A cluster for each of one to five turns, or for every tile as without persistent blocks.
  const Dim3 grid = seed % 6 == 5 ? Dim3{static_cast<unsigned>(turns / plan.parts() * cluster),
                                         static_cast<unsigned>(plan.parts())}
                                  : Dim3{static_cast<unsigned>(cu::ceil_div(turns, 1 + seed % 6) * cluster)};
  const auto of = [&]<class Shape>(Shape) {
    const auto body = [&] {
      if (plan.options.a_unsigned)
        cu::conv_s8_tma_kernel<Shape, true>(plan.gemm, plan.grid, run, tma);
      else
        cu::conv_s8_tma_kernel<Shape, false>(plan.gemm, plan.grid, run, tma);
    };
    launch(grid, Shape::threads + Shape::helpers, seed, body, cluster);
  };
  if (plan.tile == cu::TileKind::broad) of(cu::TmaTile<128, 256, step>());
  if (plan.tile == cu::TileKind::wide) of(cu::TmaTile<128, 128, step>());
  if (plan.tile == cu::TileKind::narrow) of(cu::TmaTile<128, 64, step>());
  if (plan.tile == cu::TileKind::small) of(cu::TmaTile<64, 64, step>());
}
#endif

/// The kernels of a product as run_conv() launches them.
inline void run_kernels(const cu::ConvPlan& plan, const Bytes& a, const Bytes& b, bool dot, unsigned seed,
                        const cu::Epilogue& epilogue, const cu::SampleOrder* order = nullptr) {
  std::vector<std::int32_t> parts(static_cast<std::size_t>(plan.workspace_bytes() / 4), 123456789);
  const cu::ConvRun run{.a = a.data(),
                        .b = b.data(),
                        .a_plane = cu::plane_bytes(plan.a_bytes()),
                        .b_plane = cu::plane_bytes(plan.b_bytes()),
                        .b_planes = plan.options.b_planes,
                        .order = order,
                        .parts = plan.direct() ? nullptr : parts.data(),
                        .epilogue = epilogue};
#if OCTAVO_WGMMA
  if (plan.by_tma())
    plan.tma.step_bytes == 128 ? launch_tma<128>(plan, run, seed) : launch_tma<64>(plan, run, seed);
  else
#endif
    plan.by_class() ? launch_tile<true>(plan, run, dot, seed) : launch_tile<false>(plan, run, dot, seed);
  const int pairs = plan.parts() / plan.gemm.splits;
  if (plan.by_class())
    launch({3}, cu::join_threads, seed, [&] { cu::join_classes_kernel(plan.gemm, run, pairs); });
  else if (!plan.direct())
    launch({3}, cu::join_threads, seed, [&] { cu::join_parts_kernel(plan.gemm, run, pairs); });
}

inline void launch_depthwise(const cu::DepthwisePlan& plan, const Bytes& a, const Bytes& b,
                             const cu::Epilogue& epilogue, const cu::SampleOrder* order = nullptr) {
  const cu::ConvOptions& options = plan.conv.options;
  const cu::DepthwiseRun run{.a = a.data(),
                             .b = b.data(),
                             .a_plane = cu::plane_bytes(plan.a_bytes),
                             .b_plane = cu::plane_bytes(plan.b_bytes),
                             .a_planes = options.a_planes,
                             .b_planes = options.b_planes,
                             .order = order,
                             .epilogue = epilogue};
  const bool weight = plan.conv.product == Product::grad_weight;
  const auto body = [&] {
    if (weight)
      options.a_unsigned ? cu::depthwise_grad_weight_kernel<true>(plan.sizes, run)
                         : cu::depthwise_grad_weight_kernel<false>(plan.sizes, run);
    else
      options.a_unsigned ? cu::depthwise_pixels_kernel<true>(plan.sizes, run)
                         : cu::depthwise_pixels_kernel<false>(plan.sizes, run);
  };
  launch({weight ? static_cast<unsigned>(plan.sizes.filters_taps()) : 3U}, cu::depthwise_threads, 1, body);
}

/// Stores drawn.start, gives an epilogue with it to run, and compares.
template <class Run>
void check_epilogue(const ConvShape& shape, const cu::ConvPlan& plan, const PlainOperands& operands,
                    unsigned bits, const Run& run, const std::uint8_t* classes = nullptr) {
  const Product product = plan.product;
  INFO(product_name(product) << " " << describe(shape) << " " << bits);
  FloatCase drawn(shape, product, plan.result_elements(), bits);
  drawn.args.sample_class = classes;
  const auto expected = reference_floats(shape, product, operands, drawn.args, drawn.start);
  for (FloatType type : types_of(product)) {
    auto out = stored_as(drawn.start, type);
    ConvArgs args = drawn.args;
    args.out = FloatTarget(out.data(), type);
    run(cu::epilogue_of(plan, args));
    CHECK(first_difference(out, stored_as(expected, type)) == none);
  }
}

}  // namespace octavo::kernels::test
