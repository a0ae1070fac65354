// Launches of the integer convolution: the table of kernels, and the pass that joins parts.
#include "conv_s8.h"

#include <algorithm>

#include "arguments.h"
#include "check.h"
#include "conv_s8_kernel.cuh"

namespace octavo::kernels::cuda {
namespace {

using Kernel = void (*)(ImplicitGemm, TileGrid, ConvRun);

struct Launch {
  Family family;
  TileKind tile;
  bool a_unsigned;
  Kernel kernel;
  int threads, stage_bytes;
};

template <class Shape, class Math, bool a_unsigned>
constexpr Launch launch(Family family, TileKind tile) {
  return {
      family, tile, a_unsigned, conv_s8_kernel<Shape, Math, a_unsigned>, Shape::threads, Shape::stage_bytes};
}

constexpr Launch launches[] = {
    launch<WideTile, MatrixMath, false>(Family::mma, TileKind::wide),
    launch<WideTile, MatrixMath, true>(Family::mma, TileKind::wide),
    launch<NarrowTile, MatrixMath, false>(Family::mma, TileKind::narrow),
    launch<NarrowTile, MatrixMath, true>(Family::mma, TileKind::narrow),
    launch<SmallTile, MatrixMath, false>(Family::mma, TileKind::small),
    launch<SmallTile, MatrixMath, true>(Family::mma, TileKind::small),
    launch<SmallTile, DotMath, false>(Family::dp4a, TileKind::small),
    launch<SmallTile, DotMath, true>(Family::dp4a, TileKind::small),
};

const Launch& find_launch(const ConvPlan& plan, Family family, const std::string& what) {
  for (const Launch& each : launches)
    if (each.family == family && each.tile == plan.tile && each.a_unsigned == plan.options.a_unsigned)
      return each;
  throw std::invalid_argument(what + "no such tile in " + family_name(family) + "; plan with options_for()");
}

/// Stages as the code for this card was compiled: two where it has no asynchronous copies.
int stages_of(Kernel kernel, const std::string& what) {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)), what, "kernel attributes");
  return attributes.binaryVersion >= 80 ? async_stages : register_stages;
}

}  // namespace

void run_conv(const ConvPlan& plan, const ConvArgs& args, cudaStream_t stream) {
  run_conv(plan, args, active_family(), stream);
}

void run_conv(const ConvPlan& plan, const ConvArgs& args, Family family, cudaStream_t stream) {
  const std::string& what = plan.name;
  check_arguments(plan, args);
  if (!plan.direct()) check_pointer(args.scratch, "scratch", what, alignof(std::int32_t));
  const Launch& chosen = find_launch(plan, family, what);
  ConvRun run{.a = static_cast<const std::int8_t*>(args.a),
              .b = static_cast<const std::int8_t*>(args.b),
              .a_plane = plane_bytes(plan.a_bytes()),
              .b_plane = plane_bytes(plan.b_bytes()),
              .b_planes = args.b_planes,
              .parts = plan.direct() ? nullptr : static_cast<std::int32_t*>(args.scratch),
              .epilogue = epilogue_of(plan, args)};
  const int shared = chosen.stage_bytes * stages_of(chosen.kernel, what);
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(chosen.kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
        what, "shared memory of the block");
  const dim3 blocks(static_cast<unsigned>(plan.grid.blocks()), static_cast<unsigned>(plan.parts()));
  chosen.kernel<<<blocks, chosen.threads, shared, stream>>>(plan.gemm, plan.grid, run);
  check_launch(what);
  if (plan.direct()) return;
  const std::int64_t joins = std::min<std::int64_t>(ceil_div(part_size(plan.gemm), join_threads), 1 << 16);
  join_parts_kernel<<<static_cast<unsigned>(joins), join_threads, 0, stream>>>(plan.gemm, run, plan.parts());
  check_launch(what, "join of parts");
}

}  // namespace octavo::kernels::cuda
