// The pass of an optimizer over a part of a parameter: new values and their maxima.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "pass_list.h"
#include "update_parts.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

/// Maxima of the new value w of element i, where they are wanted: all lanes of a warp call it. Lanes of one
/// row join theirs before one of them asks memory.
template <class Update>
__device__ inline void note_maxima(const Update& u, std::int64_t row, std::int64_t i, std::int64_t row_size,
                                   float w) {
  const bool inside = i < u.elements;
  if (inside && u.column_max != nullptr) {
    const std::uint32_t bits = magnitude_of(w * u.row_factor[row]);
    std::uint32_t* const most = u.column_max + i % u.columns;
    if (bits > __ldcg(most)) atomicMax(most, bits);  // an older value costs an atomic
  }
  if (u.row_max == nullptr) return;
  std::uint32_t most = magnitude_of(w);
  if (i / 32 * 32 / row_size == (i / 32 * 32 + 31) / row_size) {  // the same for all lanes
    for (int distance = 16; distance > 0; distance /= 2)
      most = max(most, __shfl_down_sync(~0u, most, distance));
    if (threadIdx.x % 32 == 0) atomicMax(u.row_max + row, most);
  } else if (inside) {
    atomicMax(u.row_max + row, most);
  }
}

/// The elements of a part, one a thread and a whole warp at a time; element(i) is the new value.
template <class Update, class Element>
__device__ inline void update_elements(const Update& u, int part, const Element& element) {
  const std::int64_t row_size = u.elements / u.rows, first = std::int64_t{part} * update_part,
                     whole = ceil_div(u.elements, 32) * 32,
                     end = first + update_part < whole ? first + update_part : whole;
  for (std::int64_t i = first + threadIdx.x; i < end; i += update_threads) {
    const bool inside = i < u.elements;
    const float w = inside ? element(i) : 0.0f;
    if (inside) u.value[i] = w;
    note_maxima(u, inside ? i / row_size : u.rows - 1, i, row_size, w);
  }
}

}  // namespace octavo::kernels::cuda
