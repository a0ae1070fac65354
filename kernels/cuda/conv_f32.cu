// Launches of the FP32 convolution and of the join of its parts.
#include "conv_f32.h"

#include "conv_f32_direct_kernel.cuh"
#include "conv_f32_kernels.cuh"
#include "launch.h"
#include "pointers.h"

namespace octavo::kernels::cuda {
namespace {

using Kernel = void (*)(ConvF32Gemm, TileGrid, ConvF32Run);

template <Product product>
Kernel kernel_of(F32Kernel kind) {
  if (kind == F32Kernel::wide) return conv_f32_kernel<F32Wide, product>;
  if (kind == F32Kernel::narrow) return conv_f32_kernel<F32Narrow, product>;
  return kind == F32Kernel::small ? conv_f32_kernel<F32Small, product> : direct_f32_kernel<product>;
}

Kernel kernel_of(const ConvF32Plan& plan) {
  if (plan.product == Product::forward) return kernel_of<Product::forward>(plan.kernel);
  if (plan.product == Product::grad_input) return kernel_of<Product::grad_input>(plan.kernel);
  return kernel_of<Product::grad_weight>(plan.kernel);
}

void check_arguments(const ConvF32Plan& plan, const ConvF32Args& args) {
  const std::string& what = plan.name;
  check_pointer(args.a, "a", what, alignof(float));
  check_pointer(args.b, "b", what, alignof(float));
  check_pointer(args.out, "out", what, alignof(float));
  check_optional_pointer(args.bias, "bias", what, alignof(float));
  if (args.bias != nullptr && plan.product != Product::forward)
    throw std::invalid_argument(what + "a bias is for forward");
  if (plan.splits() > 1) check_pointer(args.scratch, "scratch", what, alignof(float));
}

}  // namespace

void run_conv_f32(const ConvF32Plan& plan, const ConvF32Args& args, cudaStream_t stream) {
  check_arguments(plan, args);
  const ConvF32Gemm& g = plan.gemm;
  const bool weight = plan.product == Product::grad_weight, joined = plan.splits() > 1;
  const ConvF32Run run{.gathered = args.a,
                       .plain = args.b,
                       .bias = args.bias,
                       .out = args.out,
                       .accumulate = args.accumulate,
                       .parts = joined ? static_cast<float*>(args.scratch) : nullptr};
  const dim3 blocks(static_cast<unsigned>(plan.grid.blocks()), static_cast<unsigned>(plan.splits()));
  launch(kernel_of(plan), {blocks, f32_threads, stream}, plan.name, g, plan.grid, run);
  if (!joined) return;
  launch(join_f32_kernel, {blocks_for(g.results, f32_threads), f32_threads, stream, 0, "join of parts"},
         plan.name, run, g.results, plan.splits(), weight ? 1 : g.out_channels);
}

void store_sums_f32(const float* sums, const ConvF32Args& args, std::int64_t results, std::int64_t channels,
                    const std::string& what, cudaStream_t stream) {
  const ConvF32Run run{.bias = args.bias,
                       .out = args.out,
                       .accumulate = args.accumulate,
                       .parts = const_cast<float*>(sums)};  // as parts, of which it is the only one
  launch(join_f32_kernel, {blocks_for(results, f32_threads), f32_threads, stream, 0, "store of sums"}, what,
         run, results, 1, static_cast<int>(channels));
}

}  // namespace octavo::kernels::cuda
