// Which part of an image becomes the sample.
#pragma once

#include "octavo/data.h"
#include "random.h"

namespace octavo {

/// A random share of the area in [0.08, 1] with a ratio of the sides in [3/4, 4/3] (Szegedy et al., "Going
/// Deeper with Convolutions", 2015, section 6), drawn as torchvision's RandomResizedCrop does: ten tries,
/// then the largest central part that has such a ratio. Takes 12 draws from `counter` on.
Region random_region(std::int64_t h, std::int64_t w, kernels::RandomKey key, std::uint32_t counter);

/// The central square of `size` pixels of the image scaled until its short side has size / share pixels, as
/// torchvision's Resize and CenterCrop place it.
Region central_region(std::int64_t h, std::int64_t w, std::int64_t size, double share);

}  // namespace octavo
