// Floats to bfloat16 and back.
#include "bf16_sums.h"

#include "bf16_sums_kernels.cuh"
#include "launch.h"
#include "pointers.h"

namespace octavo::kernels::cuda {
namespace {

Launch runs_of(std::int64_t count, cudaStream_t stream, const char* step) {
  return {blocks_for(ceil_div(count, segment_bytes), narrow_threads), narrow_threads, stream, 0, step};
}

}  // namespace

void narrow_floats(const float* from, Bf16* to, std::int64_t count, const std::string& what,
                   cudaStream_t stream) {
  check_pointer(from, "floats", what, alignof(float));
  check_pointer(to, "their bfloat16", what, alignof(Bf16));
  launch(narrow_floats_kernel, runs_of(count, stream, "floats to bfloat16"), what, from, to, count);
}

void store_bf16_sums(const Bf16* sums, const ConvF32Args& args, std::int64_t results, std::int64_t channels,
                     const std::string& what, cudaStream_t stream) {
  const ConvF32Run run{.bias = args.bias, .out = args.out, .accumulate = args.accumulate};
  launch(store_bf16_sums_kernel, runs_of(results, stream, "store of sums"), what, sums, run, results,
         static_cast<int>(channels));
}

}  // namespace octavo::kernels::cuda
