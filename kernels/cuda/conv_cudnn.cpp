// One convolution for each pair of planes, then the join.
#include "conv_cudnn.h"

#include "arguments.h"
#include "conv_s8.h"

namespace octavo::kernels::cuda {

std::string refuse_conv_cudnn(const ConvShape& caller, Product product, const ConvOptions& options) {
  const ConvShape s = rows_as_batch(caller);
  const auto because = [&](const char* reason) {
    return describe_conv(caller, product, cudnn_kernel_name) + reason;
  };
  if (product != Product::forward) return because("it has no gradients in INT8");
  if (s.groups != 1) return because("groups are not taken");
  if (options.a_unsigned) return because("its INT8 operands are signed, and this X is unsigned");
  if (s.k % 4 != 0) return because("filters are no multiple of 4");
  if (s.r * s.s * whole_segments(s.c) > longest_signed_sum)
    return because("sums that no int32 holds would have to be cut");
  return refuse_conv(caller, product, options);
}

std::optional<ConvCudnnPlan> plan_conv_cudnn(const ConvShape& shape, Product product,
                                             const ConvOptions& options) {
  if (!refuse_conv_cudnn(shape, product, options).empty()) return std::nullopt;
  ConvCudnnPlan plan{.conv = plan_conv(shape, product, options_for(Family::mma, options))};
  plan.conv.name = describe_conv(shape, product, cudnn_kernel_name);
  plan.conv.gemm.splits = plan.conv.gemm.sums = 1;
  ConvShape padded = plan.conv.shape;  // as the copies are in memory
  padded.c = whole_segments(padded.c);
  plan.product = CudnnConv::plan({padded, product, LibraryMath::s8}, plan.conv.name);
  if (plan.product == nullptr) return std::nullopt;
  return plan;
}

void run_conv_cudnn(const ConvCudnnPlan& plan, const ConvArgs& args, cudaStream_t stream) {
  const ConvPlan& conv = plan.conv;
  check_arguments(conv, args, nullptr);
  check_pointer(args.scratch, "scratch", conv.name, CudnnConv::alignment);
  auto* const sums =
      reinterpret_cast<std::int32_t*>(static_cast<std::byte*>(args.scratch) + plan.library_bytes());
  for (int part = 0; part < conv.parts(); ++part) {
    const PartAt at = part_at(conv.gemm, args.b_planes, part);
    plan.product->run(
        {.x = static_cast<const std::int8_t*>(args.a) + at.a_plane * plane_bytes(conv.a_bytes()),
         .w = static_cast<const std::int8_t*>(args.b) + at.b_plane * plane_bytes(conv.b_bytes()),
         .y = sums + part * conv.gemm.results,
         .workspace = args.scratch},
        stream);
  }
  join_parts(conv, {.b_planes = args.b_planes, .parts = sums, .epilogue = epilogue_of(conv, args)}, stream);
}

}  // namespace octavo::kernels::cuda
