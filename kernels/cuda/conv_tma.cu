// Launches of the convolution whose stages TMA fills: the table of its kernels.
#include "conv_tma.h"

#include <array>

#include "conv_tma_kernel.cuh"
#include "launch.h"

namespace octavo::kernels::cuda {
namespace {

struct TmaKernel {
  TileKind tile;
  int step_bytes;
  bool a_unsigned;
  void (*kernel)(ImplicitGemm, TileGrid, ConvRun, ConvTma);
  int threads, shared_bytes;
};

template <int m, int n, int step, bool a_unsigned>
constexpr TmaKernel tma_kernel(TileKind tile) {
  using Shape = TmaTile<m, n, step>;
  return {tile,
          step,
          a_unsigned,
          conv_s8_tma_kernel<Shape, a_unsigned>,
          Shape::threads + Shape::helpers,
          Shape::shared_bytes};
}

template <int step, bool a_unsigned>
constexpr std::array kernels_of = {tma_kernel<128, 256, step, a_unsigned>(TileKind::broad),
                                   tma_kernel<128, 128, step, a_unsigned>(TileKind::wide),
                                   tma_kernel<128, 64, step, a_unsigned>(TileKind::narrow),
                                   tma_kernel<64, 64, step, a_unsigned>(TileKind::small)};

const TmaKernel& find_kernel(const ConvPlan& plan) {
  for (const auto* kernels :
       {&kernels_of<64, false>, &kernels_of<64, true>, &kernels_of<128, false>, &kernels_of<128, true>})
    for (const TmaKernel& each : *kernels)
      if (each.tile == plan.tile && each.step_bytes == plan.tma.step_bytes &&
          each.a_unsigned == plan.options.a_unsigned)
        return each;
  throw std::logic_error(plan.name + "no kernel for its steps");
}

}  // namespace

void launch_conv_tma(const ConvPlan& plan, const ConvRun& run, cudaStream_t stream) {
  const TmaKernel& chosen = find_kernel(plan);
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(chosen.kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, chosen.shared_bytes),
        plan.name, "shared memory of the block");
  const int cluster = plan.tma.cluster;
  const dim3 blocks(static_cast<unsigned>(cluster_grid(plan.grid, cluster).blocks() * cluster),
                    static_cast<unsigned>(plan.parts()));
  launch(chosen.kernel,
         {blocks, chosen.threads, stream, static_cast<std::size_t>(chosen.shared_bytes), "launch", cluster},
         plan.name, plan.gemm, plan.grid, run, make_tensor_maps(plan, run.a, run.b));
}

}  // namespace octavo::kernels::cuda
