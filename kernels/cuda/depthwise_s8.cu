// Launches of the depthwise convolution.
#include "depthwise_s8.h"

#include <algorithm>

#include "arguments.h"
#include "depthwise_kernels.cuh"
#include "launch.h"

namespace octavo::kernels::cuda {

void run_depthwise(const DepthwisePlan& plan, const ConvArgs& args, cudaStream_t stream,
                   const SampleOrder* order) {
  check_arguments(plan.conv, args, order);
  const DepthwiseRun run{.a = static_cast<const std::int8_t*>(args.a),
                         .b = static_cast<const std::int8_t*>(args.b),
                         .a_plane = plane_bytes(plan.a_bytes),
                         .b_plane = plane_bytes(plan.b_bytes),
                         .a_planes = args.a_planes,
                         .b_planes = args.b_planes,
                         .order = order,
                         .epilogue = epilogue_of(plan.conv, args)};
  const bool weight = plan.conv.product == Product::grad_weight;
  const std::int64_t blocks =
      weight ? plan.sizes.filters_taps()
             : std::min<std::int64_t>(ceil_div(plan.sizes.shares(), depthwise_threads), 1 << 20);
  void (*kernel)(Depthwise, DepthwiseRun) = nullptr;
  if (plan.conv.options.a_unsigned)
    kernel = weight ? depthwise_grad_weight_kernel<true> : depthwise_pixels_kernel<true>;
  else
    kernel = weight ? depthwise_grad_weight_kernel<false> : depthwise_pixels_kernel<false>;
  launch(kernel, {static_cast<unsigned>(blocks), depthwise_threads, stream}, plan.conv.name, plan.sizes, run);
}

}  // namespace octavo::kernels::cuda
