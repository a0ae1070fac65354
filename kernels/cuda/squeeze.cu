// Weights squeezed by tanh.
#include "squeeze.h"

#include "launch.h"
#include "pointers.h"
#include "squeeze_kernels.cuh"

namespace octavo::kernels::cuda {
namespace {

std::string check_squeezed(const char* kernel, const Squeezed& of) {
  const std::string what = std::string("cuda/") + kernel + " of " + std::to_string(of.elements) + ": ";
  if (of.elements < 1) throw std::invalid_argument(what + "sizes start at 1");
  check_pointer(of.weights, "weights", what, alignof(float));
  check_pointer(of.max_bits, "max_bits", what, alignof(std::uint32_t));
  return what;
}

}  // namespace

void squeeze_weights(const Squeezed& of, float* out, cudaStream_t stream) {
  const std::string what = check_squeezed("squeeze_weights", of);
  check_pointer(out, "out", what, alignof(float));
  launch(squeeze_weights_kernel, {blocks_for(of.elements, squeeze_threads), squeeze_threads, stream}, what,
         of, out);
}

void squeeze_gradient(const Squeezed& of, float* gradient, cudaStream_t stream) {
  const std::string what = check_squeezed("squeeze_gradient", of);
  check_pointer(gradient, "gradient", what, alignof(float));
  launch(squeeze_gradient_kernel, {blocks_for(of.elements, squeeze_threads), squeeze_threads, stream}, what,
         of, gradient);
}

}  // namespace octavo::kernels::cuda
