// Softmax with cross entropy: a block a row, then one thread for the mean.
#include "loss.h"

#include "launch.h"
#include "loss_kernels.cuh"
#include "pointers.h"

namespace octavo::kernels::cuda {
namespace {

std::string check_loss(const char* name, const LossRows& loss) {
  const std::string what = std::string("cuda/") + name + " of " + std::to_string(loss.rows) + "x" +
                           std::to_string(loss.classes) + ": ";
  if (loss.rows < 1 || loss.classes < 1) throw std::invalid_argument(what + "sizes start at 1");
  if (!(loss.label_smoothing >= 0 && loss.label_smoothing < 1))
    throw std::invalid_argument(what + "label smoothing is at least 0 and below 1");
  check_pointer(loss.labels, "labels", what, alignof(std::int64_t));
  return what;
}

}  // namespace

void run_softmax_loss(const LossRows& loss, const float* logits, const LossResults& results,
                      cudaStream_t stream) {
  const std::string what = check_loss("softmax_loss", loss);
  check_pointer(logits, "logits", what, alignof(float));
  check_optional_pointer(results.p, "p", what, alignof(float));
  check_pointer(results.loss, "loss", what, alignof(float));
  check_pointer(results.row_losses, "row_losses", what, alignof(double));
  check_pointer(results.bad_sample, "bad_sample", what, alignof(unsigned));
  launch(softmax_rows_kernel, {static_cast<unsigned>(loss.rows), loss_threads, stream}, what, loss, logits,
         results.p, results.row_losses, results.bad_sample);
  launch(mean_loss_kernel, {1, 1, stream}, what, results.row_losses, loss.rows, results.loss);
}

void run_softmax_loss_gradient(const LossRows& loss, const float* p, const float* loss_gradient, float* dx,
                               cudaStream_t stream) {
  const std::string what = check_loss("softmax_loss_gradient", loss);
  check_pointer(p, "p", what, alignof(float));
  check_pointer(loss_gradient, "loss_gradient", what, alignof(float));
  check_pointer(dx, "dx", what, alignof(float));
  launch(softmax_gradient_kernel,
         {blocks_for(std::int64_t{loss.rows} * loss.classes, loss_threads), loss_threads, stream}, what, loss,
         p, loss_gradient, dx);
}

}  // namespace octavo::kernels::cuda
