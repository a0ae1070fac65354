// Launches around a forward product that takes sums by channel.
#include "chain.h"
#include "conv_sums.h"
#include "launch.h"
#include "result_sums_kernels.cuh"

namespace octavo::kernels::cuda {

ResultSums begin_sums(const ConvPlan& plan, const ConvRun& run, const ConvSums& sums, cudaStream_t stream) {
  check_pointer(sums.minus_pivot, "minus_pivot", plan.name, alignof(float));
  check_pointer(sums.sum, "sum", plan.name, alignof(double));
  check_pointer(sums.squares, "squares", plan.name, alignof(double));
  check_pointer(sums.scratch, "scratch of sums", plan.name, alignof(double));
  if (!plan.direct() || sums.plan.pieces() * sums.plan.piece < plan.gemm.class_rows)
    throw std::invalid_argument(plan.name + "sums of another plan; make them with plan_sums()");
  if (run.epilogue.integers != nullptr || run.epilogue.accumulate)
    throw std::invalid_argument(plan.name + "sums are of floats that are stored, not added");
  const auto kernel = plan.options.a_unsigned ? first_pixel_kernel<true> : first_pixel_kernel<false>;
  const auto blocks = static_cast<unsigned>(ceil_div(sums.plan.channels, result_sums_threads / 32));
  launch(kernel, {blocks, result_sums_threads, stream, 0, "first pixel"}, plan.name, plan.gemm, run,
         sums.minus_pivot);
  return {sums.minus_pivot, static_cast<float*>(sums.scratch), sums.plan.piece, sums.plan.walk.lanes,
          sums.plan.channels};
}

void end_sums(const ConvPlan& plan, const ConvSums& sums, const ResultSums& taken, cudaStream_t stream) {
  auto* const chunks = reinterpret_cast<double*>(static_cast<std::byte*>(sums.scratch) +
                                                 plane_bytes(sums.plan.lane_floats() * 4));
  const std::int64_t threads = std::int64_t{2} * sums.plan.channels * sums.plan.walk.chunks;
  launch(join_lanes_kernel,
         {static_cast<unsigned>(ceil_div(threads, result_sums_threads)), result_sums_threads, stream, 0,
          "join of lanes"},
         plan.name, taken, sums.plan.walk, chunks);
  join_chunks(chunks, sums.plan.walk.chunks, sums.plan.channels, sums.sum, sums.squares, plan.name, stream);
}

}  // namespace octavo::kernels::cuda
