// Checks of device pointers before a launch: the kernels read and write whole elements and segments.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Throws std::invalid_argument "<what><name> ..." for null and for an address between multiples of
/// `alignment`.
inline void check_pointer(const void* pointer, const char* name, const std::string& what,
                          std::size_t alignment) {
  if (pointer == nullptr) throw std::invalid_argument(what + name + " is null");
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0)
    throw std::invalid_argument(what + name + " does not start at a multiple of " +
                                std::to_string(alignment) + " bytes");
}

/// The same where null means that there is none.
inline void check_optional_pointer(const void* pointer, const char* name, const std::string& what,
                                   std::size_t alignment) {
  if (pointer != nullptr) check_pointer(pointer, name, what, alignment);
}

}  // namespace octavo::kernels::cuda
