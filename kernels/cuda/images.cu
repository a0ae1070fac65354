// Images of a batch.
#include "images.h"

#include "images_kernel.cuh"
#include "launch.h"
#include "pointers.h"

namespace octavo::kernels::cuda {

void normalize_images(const NormalizeImages& pass, cudaStream_t stream) {
  const std::string what = "cuda/normalize_images of " + std::to_string(pass.elements) + " in " +
                           std::to_string(pass.channels) + " channels: ";
  if (pass.elements < 1 || pass.channels < 1 || pass.elements % pass.channels != 0)
    throw std::invalid_argument(what + "pixels are whole");
  check_pointer(pass.pixels, "pixels", what, image_run);
  check_pointer(pass.scale, "scale", what, alignof(float));
  check_pointer(pass.shift, "shift", what, alignof(float));
  check_pointer(pass.out, "out", what, alignof(float));
  launch(normalize_images_kernel,
         {blocks_for(ceil_div(pass.elements, image_run), image_threads), image_threads, stream}, what, pass);
}

}  // namespace octavo::kernels::cuda
