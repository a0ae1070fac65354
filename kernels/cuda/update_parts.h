// How an update of many parameters is cut into blocks.
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Elements of a block: whole warps, so that the lanes of one are neighbours.
constexpr int update_threads = 256, update_part = 8 * update_threads;
/// Blocks of a multiprocessor: registers for a pass that lies in them.
constexpr int update_blocks_each = 4;

template <class Update>
std::int64_t update_parts(const Update& u) {
  return ceil_div(u.elements, update_part);
}

}  // namespace octavo::kernels::cuda
