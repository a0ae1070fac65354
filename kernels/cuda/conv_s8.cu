// Launches of the integer convolution: the table of kernels, and the pass that joins parts.
#include "conv_s8.h"

#include <array>

#include "arguments.h"
#include "conv_s8_kernel.cuh"
#include "conv_sums.h"
#include "conv_tma.h"
#include "join_parts_kernel.cuh"
#include "launch.h"
#include "prepared_kernel.h"

namespace octavo::kernels::cuda {
namespace {

using Kernel = void (*)(ImplicitGemm, TileGrid, ConvRun);

struct ConvKernel {
  Family family;
  TileKind tile;
  bool a_unsigned, by_class;
  Kernel kernel;
  int threads, stage_bytes, stages;  // stages: 0 for what stages_of() says
};

template <class Shape, class Math, bool a_unsigned, bool by_class>
constexpr ConvKernel conv_kernel(Family family, TileKind tile) {
  return {family,
          tile,
          a_unsigned,
          by_class,
          conv_s8_kernel<Shape, Math, a_unsigned, by_class>,
          Shape::threads,
          Shape::stage_bytes,
          Math::by_warpgroup ? warpgroup_stages : 0};
}

template <bool a_unsigned, bool by_class>
constexpr std::array kernels_of = {
    conv_kernel<WideTile, MatrixMath, a_unsigned, by_class>(Family::mma, TileKind::wide),
    conv_kernel<NarrowTile, MatrixMath, a_unsigned, by_class>(Family::mma, TileKind::narrow),
    conv_kernel<SmallTile, MatrixMath, a_unsigned, by_class>(Family::mma, TileKind::small),
    conv_kernel<SmallTile, DotMath, a_unsigned, by_class>(Family::dp4a, TileKind::small),
    conv_kernel<BroadGroups, WarpgroupMath, a_unsigned, by_class>(Family::wgmma, TileKind::broad),
    conv_kernel<WideGroups, WarpgroupMath, a_unsigned, by_class>(Family::wgmma, TileKind::wide),
    conv_kernel<NarrowGroups, WarpgroupMath, a_unsigned, by_class>(Family::wgmma, TileKind::narrow),
    conv_kernel<SmallGroups, WarpgroupMath, a_unsigned, by_class>(Family::wgmma, TileKind::small),
};

const ConvKernel& find_kernel(const ConvPlan& plan, Family family, const std::string& what) {
  for (const auto* kernels : {&kernels_of<false, false>, &kernels_of<true, false>, &kernels_of<false, true>,
                              &kernels_of<true, true>})
    for (const ConvKernel& each : *kernels)
      if (each.family == family && each.tile == plan.tile && each.a_unsigned == plan.options.a_unsigned &&
          each.by_class == plan.by_class())
        return each;
  throw std::invalid_argument(what + "no such tile in " + family_name(family) + "; plan with options_for()");
}

PreparedKernel prepare(Kernel kernel, int shared, const std::string& what) {
  return prepare_kernel(reinterpret_cast<const void*>(kernel), shared, what);
}

/// Bytes of the stages as the code for this card was compiled: two where it has no asynchronous copies.
int shared_bytes(const ConvKernel& kernel, const std::string& what) {
  if (kernel.stages > 0) return kernel.stage_bytes * kernel.stages;
  const int code = prepare(kernel.kernel, 0, what).code;
  return kernel.stage_bytes * (code >= 80 ? async_stages : register_stages);
}

void launch_conv(const ConvPlan& plan, Family family, const ConvRun& run, cudaStream_t stream) {
  const std::string& what = plan.name;
  const ConvKernel& chosen = find_kernel(plan, family, what);
  const int shared = shared_bytes(chosen, what);
  prepare(chosen.kernel, shared, what);
  const dim3 blocks(static_cast<unsigned>(plan.grid.blocks()), static_cast<unsigned>(plan.parts()));
  launch(chosen.kernel, {blocks, chosen.threads, stream, static_cast<std::size_t>(shared)}, what, plan.gemm,
         plan.grid, run);
}

auto join_of(const ConvPlan& plan) { return plan.by_class() ? join_classes_kernel : join_parts_kernel; }

int capability_of_device() { return device_capability("cuda/conv_s8: "); }
constexpr int matrix_capability = 75;

}  // namespace

Family active_family() {
  if (const std::optional<Family> asked = asked_family()) return *asked;
  return capability_of_device() < matrix_capability ? Family::dp4a : Family::mma;
}

std::string refuse_family(Family family) {
  const int capability = family == Family::dp4a ? 0 : capability_of_device();
  const std::string has = ", and this one has " + std::to_string(capability / 10) + "." +
                          std::to_string(capability % 10) + "; choose ";
  if (family == Family::mma && capability < matrix_capability)
    return "mma of bytes needs a device of compute capability 7.5" + has + "dp4a";
  if (family != Family::wgmma) return {};
  if (capability / 10 != 9)
    return "wgmma needs a device of compute capability 9.0" + has +
           (capability < matrix_capability ? "dp4a" : "mma");
  // The kernels of another architecture, sm_90 without the a among them, are empty.
  if (prepare(kernels_of<false, false>.back().kernel, 0, "cuda/conv_s8: ").static_shared == 0)
    return "this build has no wgmma for this device; build with CMAKE_CUDA_ARCHITECTURES=90a-real, or choose "
           "mma";
  return {};
}

void prepare_conv(const ConvPlan& plan, Family family) {
  if (plan.by_tma()) {
    prepare_conv_tma(plan);
  } else {
    const ConvKernel& chosen = find_kernel(plan, family, plan.name);
    prepare(chosen.kernel, shared_bytes(chosen, plan.name), plan.name);
  }
  if (!plan.direct()) prepare_join(plan);
}

void prepare_join(const ConvPlan& plan) {
  prepare_kernel(reinterpret_cast<const void*>(join_of(plan)), 0, plan.name);
}

void run_conv(const ConvPlan& plan, const ConvArgs& args, cudaStream_t stream, const SampleOrder* order,
              const ConvSums* sums) {
  run_conv(plan, args, active_family(), stream, order, sums);
}

void run_conv(const ConvPlan& plan, const ConvArgs& args, Family family, cudaStream_t stream,
              const SampleOrder* order, const ConvSums* sums) {
  const std::string& what = plan.name;
  check_arguments(plan, args, order);
  if (!plan.direct()) check_pointer(args.scratch, "scratch", what, alignof(std::int32_t));
  const std::string refused = refuse_family(family);
  if (!refused.empty()) throw std::invalid_argument(what + refused);
  if (plan.by_tma() && family != Family::wgmma)
    throw std::invalid_argument(what + "stages filled by TMA are of wgmma; plan with options_for()");
  ConvRun run{.a = static_cast<const std::int8_t*>(args.a),
              .b = static_cast<const std::int8_t*>(args.b),
              .a_plane = plane_bytes(plan.a_bytes()),
              .b_plane = plane_bytes(plan.b_bytes()),
              .b_planes = args.b_planes,
              .order = order,
              .parts = plan.direct() ? nullptr : static_cast<std::int32_t*>(args.scratch),
              .epilogue = epilogue_of(plan, args)};
  if (sums != nullptr) run.sums = begin_sums(plan, run, *sums, stream);
  if (plan.by_tma())
    launch_conv_tma(plan, run, stream);
  else
    launch_conv(plan, family, run, stream);
  if (sums != nullptr) end_sums(plan, *sums, run.sums, stream);
  if (!plan.direct()) join_parts(plan, run, stream);
}

void join_parts(const ConvPlan& plan, const ConvRun& run, cudaStream_t stream) {
  launch(join_of(plan),
         {blocks_for(plan.gemm.results, join_threads), join_threads, stream, 0, "join of parts"}, plan.name,
         plan.gemm, run, plan.parts() / plan.gemm.splits);
}

}  // namespace octavo::kernels::cuda
