// Launches of the convolution whose stages TMA fills: the table of its kernels.
#include "conv_tma.h"

#include <array>
#include <cstdlib>

#include "conv_tma_kernel.cuh"
#include "launch.h"
#include "prepared_kernel.h"

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

/// OCTAVO_CUDA_PERSISTENT=0: a cluster for each of its turns.
bool is_persistent() {
  const char* value = std::getenv("OCTAVO_CUDA_PERSISTENT");
  return value == nullptr || std::string(value) != "0";
}

/// As many clusters as the device keeps at once, or fewer turns.
dim3 blocks_of(const ConvPlan& plan, const TmaKernel& kernel) {
  const int cluster = plan.tma.cluster;
  const std::int64_t turns = cluster_turns(plan.grid, cluster, plan.parts());
  if (turns > INT32_MAX) throw std::invalid_argument(plan.name + "2^31 tiles of parts or more");
  if (!is_persistent())
    return dim3(static_cast<unsigned>(turns / plan.parts() * cluster), static_cast<unsigned>(plan.parts()));
  const int resident = resident_clusters(reinterpret_cast<const void*>(kernel.kernel), kernel.threads,
                                         kernel.shared_bytes, cluster, plan.name);
  return dim3(static_cast<unsigned>(std::min<std::int64_t>(turns, resident) * cluster));
}

}  // namespace

void prepare_conv_tma(const ConvPlan& plan) {
  const TmaKernel& kernel = find_kernel(plan);
  resident_clusters(reinterpret_cast<const void*>(kernel.kernel), kernel.threads, kernel.shared_bytes,
                    plan.tma.cluster, plan.name);
}

void launch_conv_tma(const ConvPlan& plan, const ConvRun& run, cudaStream_t stream) {
  const TmaKernel& chosen = find_kernel(plan);
  prepare_kernel(reinterpret_cast<const void*>(chosen.kernel), chosen.shared_bytes, plan.name);
  launch(chosen.kernel,
         {blocks_of(plan, chosen), chosen.threads, stream, static_cast<std::size_t>(chosen.shared_bytes),
          "launch", plan.tma.cluster},
         plan.name, plan.gemm, plan.grid, run, make_tensor_maps(plan, run.a, run.b));
}

}  // namespace octavo::kernels::cuda
