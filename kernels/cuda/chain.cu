// Launches of pointwise chains.
#include "chain.h"

#include "chain_kernels.cuh"
#include "launch.h"
#include "prepared_kernel.h"

namespace octavo::kernels::cuda {
namespace {

void clear_shared_bits(const ChainPass& pass, const std::string& what, cudaStream_t stream) {
  const auto bytes = static_cast<std::size_t>(shared_bit_words(pass.layout) * 4);
  for (int i = 0; i < pass.step_count && bytes > 0; ++i)
    if (pass.steps[i].kind == StepKind::store_bits)
      check(cudaMemsetAsync(pass.steps[i].bits_out, 0, bytes, stream), what, "clearing of bits");
}

/// Bytes of dynamic shared memory; more than 48 KiB in all are asked for.
template <class Kernel>
std::size_t bins_bytes(const ChainPass& pass, Kernel kernel, const std::string& what) {
  if (!pass.look.counts_bins()) return 0;
  prepare_kernel(reinterpret_cast<const void*>(kernel), chain_bins_bytes, what);
  return chain_bins_bytes;
}

void run_sums(const ChainPass& pass, const std::string& what, cudaStream_t stream) {
  const SumsWalk walk = sums_walk(pass.layout);
  const auto kernel = pass.quantizes() ? chain_sums_kernel<true> : chain_sums_kernel<false>;
  launch(kernel,
         {static_cast<unsigned>(chain_blocks(pass)), chain_threads, stream, bins_bytes(pass, kernel, what)},
         what, pass, walk);
  join_chunks(static_cast<const double*>(pass.scratch), walk.chunks, pass.layout.c, pass.sum_v, pass.sum_vx,
              what, stream);
}

__global__ void set_draws_kernel(const StepCounter* counter, const DrawStream* streams, int count,
                                 Draws* draws) {
  const int i = static_cast<int>(blockIdx.x * chain_threads + threadIdx.x);
  if (i < count) draws[i] = draws_of(*counter, streams[i]);
}

}  // namespace

void run_chain(const ChainPass& pass, cudaStream_t stream) {
  const std::string what = describe_pass("run_chain", pass.layout);
  check_pass(pass, what);
  clear_shared_bits(pass, what, stream);
  if (has_step(pass, StepKind::sums)) return run_sums(pass, what, stream);
  const auto kernel = pass.batch_copy != nullptr ? chain_both_kernel : chain_pixels_kernel;
  launch(kernel,
         {static_cast<unsigned>(chain_blocks(pass)), chain_threads, stream, bins_bytes(pass, kernel, what)},
         what, pass);
}

void join_chunks(const double* sums, int chunks, int channels, double* sum_v, double* sum_vx,
                 const std::string& what, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ceil_div(std::int64_t{2} * channels, chain_threads));
  launch(join_sums_kernel, {blocks, chain_threads, stream, 0, "join of sums"}, what, sums, chunks, channels,
         sum_v, sum_vx);
}

void set_draws(const StepCounter* counter, const DrawStream* streams, int count, Draws* draws,
               cudaStream_t stream) {
  const std::string what = "cuda/set_draws: ";
  check_pointer(counter, "counter", what, alignof(StepCounter));
  check_pointer(streams, "streams", what, alignof(DrawStream));
  check_pointer(draws, "draws", what, alignof(Draws));
  if (count < 1) throw std::invalid_argument(what + "no streams");
  launch(set_draws_kernel, {static_cast<unsigned>(ceil_div(count, chain_threads)), chain_threads, stream},
         what, counter, streams, count, draws);
}

}  // namespace octavo::kernels::cuda
