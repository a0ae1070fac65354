// Launches of products whose epilogue runs a chain.
#include "conv_chain.h"

#include <array>

#include "arguments.h"
#include "chain_checks.h"
#include "conv_chain_kernel.cuh"
#include "launch.h"
#include "prepared_kernel.h"

namespace octavo::kernels::cuda {
namespace {

struct ChainKernel {
  TileKind tile;
  bool a_unsigned;
  void (*kernel)(ImplicitGemm, TileGrid, ConvChainRun);
  int threads, stage_bytes;
};

template <class Shape, bool a_unsigned>
constexpr ChainKernel chain_kernel(TileKind tile) {
  return {tile, a_unsigned, conv_chain_kernel<Shape, a_unsigned>, Shape::threads, Shape::stage_bytes};
}

template <bool a_unsigned>
constexpr std::array kernels_of = {chain_kernel<WideTile, a_unsigned>(TileKind::wide),
                                   chain_kernel<NarrowTile, a_unsigned>(TileKind::narrow),
                                   chain_kernel<SmallTile, a_unsigned>(TileKind::small)};

const ChainKernel& find_kernel(const ConvPlan& plan) {
  for (const auto* kernels : {&kernels_of<false>, &kernels_of<true>})
    for (const ChainKernel& each : *kernels)
      if (each.tile == plan.tile && each.a_unsigned == plan.options.a_unsigned) return each;
  throw std::invalid_argument(plan.name + "no such tile in mma; plan with options_for()");
}

}  // namespace

void run_conv_chain(const ConvPlan& plan, const ConvArgs& args, const ChainPass& pass, cudaStream_t stream) {
  const std::string& what = plan.name;
  const std::string refused = refuse_chain(plan, Family::mma, pass);
  if (!refused.empty()) throw std::invalid_argument(what + "a chain in the epilogue: " + refused);
  ConvArgs checked = args;
  checked.out = FloatTarget(pass.pixel_copy, args.out.type);  // there is no other
  check_arguments(plan, checked, nullptr);
  if (args.integers != nullptr || args.accumulate)
    throw std::invalid_argument(what + "a chain takes floats that are stored, not added");
  ChainPass chain = pass;
  chain.x = {};
  check_pass(chain, what);
  ConvChainRun run;
  run.a = static_cast<const std::int8_t*>(args.a), run.b = static_cast<const std::int8_t*>(args.b);
  run.epilogue = epilogue_of(plan, checked);
  run.pass = chain;
  const ChainKernel& chosen = find_kernel(plan);
  const auto kernel = reinterpret_cast<const void*>(chosen.kernel);
  const int stages = prepare_kernel(kernel, 0, what).code >= 80 ? async_stages : register_stages;
  const int shared = chosen.stage_bytes * stages;
  prepare_kernel(kernel, shared, what);
  launch(chosen.kernel,
         {dim3(static_cast<unsigned>(plan.grid.blocks())), chosen.threads, stream,
          static_cast<std::size_t>(shared), "launch with a chain"},
         what, plan.gemm, plan.grid, run);
}

}  // namespace octavo::kernels::cuda
