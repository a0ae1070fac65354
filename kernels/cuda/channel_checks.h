// What passes over channels are refused for.
#pragma once

#include <initializer_list>

#include "pointers.h"

namespace octavo::kernels::cuda {

struct Named {
  const void* pointer;
  const char* name;
};

/// Sizes and pointers that must be there; those of doubles are aligned to 8.
inline std::string check_channels(const char* kernel, int channels, std::initializer_list<Named> floats,
                                  std::initializer_list<Named> doubles = {}) {
  const std::string what = std::string("cuda/") + kernel + " of " + std::to_string(channels) + " channels: ";
  if (channels < 1) throw std::invalid_argument(what + "sizes start at 1");
  for (const Named& n : floats) check_pointer(n.pointer, n.name, what, alignof(float));
  for (const Named& n : doubles) check_pointer(n.pointer, n.name, what, alignof(double));
  return what;
}

}  // namespace octavo::kernels::cuda
