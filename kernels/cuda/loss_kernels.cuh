// Softmax with cross entropy (src/ops/softmax_cross_entropy.cpp), a block a row. Sums are FP64 in an order
// fixed by the number of classes alone.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "loss_rows.h"

namespace octavo::kernels::cuda {

/// Leaves in all[0] what `join` makes of all threads' values, by halves.
template <class T, class Join>
__device__ inline T over_block(T* all, T mine, const Join& join) {
  __syncthreads();  // all[0] of the call before has been read
  all[threadIdx.x] = mine;
  for (int half = loss_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half)
      all[threadIdx.x] = join(all[threadIdx.x], all[threadIdx.x + half]);
  }
  __syncthreads();
  return all[0];
}

/// p = softmax of row blockIdx.x, and the row's loss. p may be null.
static __global__ void __launch_bounds__(loss_threads)
    softmax_rows_kernel(const __grid_constant__ LossRows loss, const float* logits, float* p,
                        double* row_losses, unsigned* bad_sample) {
  __shared__ double sums[loss_threads];
  __shared__ float maxima[loss_threads];
  const int row = blockIdx.x, k = loss.classes;
  const float* x = logits + std::int64_t{row} * k;
  float mine = x[0];
  for (int i = threadIdx.x; i < k; i += loss_threads) mine = x[i] > mine ? x[i] : mine;
  const float largest = over_block(maxima, mine, [](float a, float b) { return a > b ? a : b; });
  const auto plus = [](double a, double b) { return a + b; };
  double exponentials = 0, logits_sum = 0;
  for (int i = threadIdx.x; i < k; i += loss_threads) {
    const double e = exp(static_cast<double>(x[i]) - largest);
    if (p != nullptr) p[std::int64_t{row} * k + i] = static_cast<float>(e);
    exponentials += e;
    logits_sum += static_cast<double>(x[i]) - largest;
  }
  const double sum = over_block(sums, exponentials, plus), all = over_block(sums, logits_sum, plus);
  for (int i = threadIdx.x; p != nullptr && i < k; i += loss_threads) {
    float& value = p[std::int64_t{row} * k + i];
    value = static_cast<float>(value / sum);
  }
  if (threadIdx.x != 0) return;
  const std::int64_t label = loss.labels[row];
  const bool inside = label >= 0 && label < k;
  if (!inside) atomicMin(bad_sample, static_cast<unsigned>(row));
  row_losses[row] = loss.row_loss(log(sum), static_cast<double>(x[inside ? label : 0]) - largest, all);
}

/// The mean of the rows' losses, by one thread in their order.
static __global__ void mean_loss_kernel(const double* row_losses, int rows, float* loss) {
  double total = 0;
  for (int i = 0; i < rows; ++i) total += row_losses[i];
  *loss = static_cast<float>(total / rows);
}

/// dx = (p - q) dloss / rows, an element a thread.
static __global__ void __launch_bounds__(loss_threads)
    softmax_gradient_kernel(const __grid_constant__ LossRows loss, const float* p, const float* loss_gradient,
                            float* dx) {
  const std::int64_t count = std::int64_t{loss.rows} * loss.classes;
  const float factor = *loss_gradient / static_cast<float>(loss.rows);
  for (std::int64_t i = blockIdx.x * std::int64_t{loss_threads} + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * loss_threads)
    dx[i] =
        (p[i] - loss.target(static_cast<int>(i / loss.classes), static_cast<int>(i % loss.classes))) * factor;
}

}  // namespace octavo::kernels::cuda
