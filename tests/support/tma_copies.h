// What cp.async.bulk.tensor brings to shared memory, by the PTX ISA ("Tiled mode", "im2col mode", "Swizzling
// modes") from a map of support/cuda_host/cuda.h: independent of how kernels/cuda/tma_steps.h makes
// coordinates. Throws std::logic_error for what the instruction does not take.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "support/cuda_host/cuda.h"

namespace octavo::kernels::test {

/// A segment of 16 bytes on its way; null: zeros.
struct ArrivingSegment {
  std::uint32_t to;
  const std::int8_t* from;
};

class TensorCopy {
 public:
  TensorCopy(const CUtensorMap& map, std::uint32_t to) : map_(cuda_host_tensor_map(map)), to_(to) {
    refuse(map_.made != cuda_host_map_made, "a map that nobody made");
    refuse(to % 128 != 0, "shared memory that is not aligned to 128 bytes");
    refuse(map_.swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && map_.box[0] != 16U << map_.swizzle,
           "rows narrower than the swizzle");
    refuse(map_.swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && to % (128U << map_.swizzle) != 0,
           "shared memory that does not begin with a pattern of the swizzle");
  }

  std::vector<ArrivingSegment> tiled(const std::vector<std::int64_t>& at) {
    refuse(map_.im2col || at.size() != map_.rank, "a tiled copy by another map");
    std::int64_t rows = 1;
    for (std::size_t i = 1; i < map_.rank; ++i) rows *= count(i);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::array<std::int64_t, 5> place{at[0]};
      std::int64_t rest = row;
      for (std::size_t i = 1; i < map_.rank; ++i) {
        place[i] = at[i] + rest % count(i) * map_.step[i];
        rest /= count(i);
      }
      bring_row(place);
    }
    return std::move(segments_);
  }

  /// Coordinates (c, w, h, n) of the filter's corner, and offsets (w, h).
  std::vector<ArrivingSegment> im2col(const std::array<std::int64_t, 4>& at,
                                      const std::array<int, 2>& offset) {
    refuse(!map_.im2col || map_.rank != 4, "an im2col copy by another map");
    std::array<std::int64_t, 4> base = at;
    for (std::size_t i = 0; i < 2; ++i) {
      refuse(offset[i] < 0 || offset[i] > 255, "an offset that is not 0 to 255");
      refuse(base[i + 1] < map_.lower[i] || base[i + 1] > last(i), "a corner outside of the bounding box");
    }
    for (int pixel = 0; pixel < map_.box[1]; ++pixel) {
      bring_row({base[0], base[1] + offset[0], base[2] + offset[1], base[3]});
      base[1] += map_.step[1];
      if (base[1] <= last(0)) continue;
      base[1] = map_.lower[0], base[2] += map_.step[2];
      if (base[2] <= last(1)) continue;
      base[2] = map_.lower[1], base[3] += map_.step[3];
    }
    return std::move(segments_);
  }

 private:
  static void refuse(bool wrong, const char* what) {
    if (wrong) throw std::logic_error(std::string("TMA: ") + what);
  }
  std::int64_t count(std::size_t i) const { return (map_.box[i] + map_.step[i] - 1) / map_.step[i]; }
  std::int64_t last(std::size_t axis) const {
    return static_cast<std::int64_t>(map_.size[axis + 1]) - 1 + map_.upper[axis];
  }

  void bring_row(const std::array<std::int64_t, 5>& at) {
    bool inside = true;
    std::int64_t offset = at[0];
    for (std::size_t i = 1; i < map_.rank; ++i) {
      inside = inside && at[i] >= 0 && at[i] < static_cast<std::int64_t>(map_.size[i]);
      offset += at[i] * static_cast<std::int64_t>(map_.distance[i - 1]);
    }
    for (std::int64_t byte = 0; byte < map_.box[0]; byte += 16, next_ += 16) {
      const std::int64_t left = static_cast<std::int64_t>(map_.size[0]) - at[0] - byte;
      refuse(at[0] % 16 != 0 || left % 16 != 0,
             "rows cut within 16 bytes, which this stand-in does not know");
      std::uint32_t to = to_ + next_;
      if (map_.swizzle != CU_TENSOR_MAP_SWIZZLE_NONE) to ^= (to >> 7 & ((1U << map_.swizzle) - 1)) << 4;
      segments_.push_back(
          {to, inside && left > 0 && at[0] + byte >= 0 ? map_.address + offset + byte : nullptr});
    }
  }

  CudaHostTensorMap map_;
  std::uint32_t to_, next_ = 0;
  std::vector<ArrivingSegment> segments_;
};

}  // namespace octavo::kernels::test
