// Softmax with cross entropy on the device. Pointers are of the device. Errors of CUDA are thrown as
// std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "loss_rows.h"

namespace octavo::kernels::cuda {

/// p [rows, classes] (null: not kept), loss [], rows doubles of scratch. *bad_sample, no_bad_sample before,
/// becomes the first sample whose label is none of the classes; loss and p then mean nothing.
struct LossResults {
  float* p = nullptr;
  float* loss = nullptr;
  double* row_losses = nullptr;
  unsigned* bad_sample = nullptr;
};
void run_softmax_loss(const LossRows& loss, const float* logits, const LossResults& results,
                      cudaStream_t stream);

/// dx [rows, classes]; loss_gradient [].
void run_softmax_loss_gradient(const LossRows& loss, const float* p, const float* loss_gradient, float* dx,
                               cudaStream_t stream);

}  // namespace octavo::kernels::cuda
