// Tensor maps of the CUDA driver, made by the host: what the documentation of cuTensorMapEncodeTiled and
// cuTensorMapEncodeIm2col demands is demanded here. Only bytes without interleaving, with zeros outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

enum CUresult { CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE };
using cuuint32_t = std::uint32_t;
using cuuint64_t = std::uint64_t;
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_UINT8 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
enum CUtensorMapSwizzle {
  CU_TENSOR_MAP_SWIZZLE_NONE,
  CU_TENSOR_MAP_SWIZZLE_32B,
  CU_TENSOR_MAP_SWIZZLE_64B,
  CU_TENSOR_MAP_SWIZZLE_128B
};
enum CUtensorMapL2promotion {
  CU_TENSOR_MAP_L2_PROMOTION_NONE,
  CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
  CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
  CU_TENSOR_MAP_L2_PROMOTION_L2_256B
};
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };
struct alignas(64) CUtensorMap {
  cuuint64_t opaque[16];
};

/// What the host keeps in a CUtensorMap.
struct CudaHostTensorMap {
  const std::int8_t* address;
  cuuint64_t size[5], distance[4];
  std::uint16_t box[5];  // tiled: elements; im2col: channels and pixels
  std::int16_t lower[3], upper[3];
  std::uint8_t step[5], rank, swizzle, made;
  bool im2col;
};
static_assert(sizeof(CudaHostTensorMap) <= sizeof(CUtensorMap));
constexpr std::uint8_t cuda_host_map_made = 0x5a;

inline CudaHostTensorMap cuda_host_tensor_map(const CUtensorMap& map) {
  CudaHostTensorMap of;
  std::memcpy(static_cast<void*>(&of), &map, sizeof of);
  return of;
}

/// Empty, or what both functions refuse.
inline std::string cuda_host_refuse_tensor(const CUtensorMap* map, cuuint32_t rank, const void* address,
                                           const cuuint64_t* size, const cuuint64_t* distance,
                                           const cuuint32_t* step, CUtensorMapSwizzle swizzle,
                                           cuuint64_t inner_box) {
  if (reinterpret_cast<std::uintptr_t>(map) % 64 != 0) return "a map not aligned to 64 bytes";
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return "an address not aligned to 16 bytes";
  cuuint64_t least = size[0];
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (size[i] == 0 || size[i] > cuuint64_t{1} << 32) return "a size of 0 or above 2^32";
    if (step[i] == 0 || step[i] > 8) return "an element stride of 0 or above 8";
    if (i + 1 == rank) break;
    if (distance[i] % 16 != 0 || distance[i] >= cuuint64_t{1} << 40)
      return "a stride that is no multiple of 16 bytes below 2^40";
    if (distance[i] < least || (i > 0 && distance[i] % distance[i - 1] != 0))
      return "a stride that does not include that of the dimension before";
    least = distance[i] * size[i + 1];
  }
  if (inner_box % 16 != 0) return "an inner box that is no multiple of 16 bytes";
  if (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && inner_box > 16U << swizzle)
    return "an inner box that is wider than the swizzle";
  return {};
}

inline std::string cuda_host_refused;  // what the last refusal was for

inline CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* address,
                                       const cuuint64_t* size, const cuuint64_t* distance,
                                       const cuuint32_t* box, const cuuint32_t* step, CUtensorMapInterleave,
                                       CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                                       CUtensorMapFloatOOBfill) {
  const auto refuse = [](const std::string& why) {
    cuda_host_refused = why;
    return CUDA_ERROR_INVALID_VALUE;
  };
  if (rank < 1 || rank > 5) return refuse("a rank that is not 1 to 5");
  const std::string tensor =
      cuda_host_refuse_tensor(map, rank, address, size, distance, step, swizzle, box[0]);
  if (!tensor.empty()) return refuse(tensor);
  CudaHostTensorMap of{.address = static_cast<const std::int8_t*>(address)};
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (box[i] == 0 || box[i] > 256) return refuse("a box of 0 or above 256");
    of.size[i] = size[i], of.box[i] = static_cast<std::uint16_t>(box[i]);
    of.step[i] = static_cast<std::uint8_t>(step[i]);
    if (i + 1 < rank) of.distance[i] = distance[i];
  }
  of.rank = static_cast<std::uint8_t>(rank), of.swizzle = static_cast<std::uint8_t>(swizzle);
  of.made = cuda_host_map_made;
  std::memcpy(map, &of, sizeof of);
  return CUDA_SUCCESS;
}

inline CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* address,
                                        const cuuint64_t* size, const cuuint64_t* distance, const int* lower,
                                        const int* upper, cuuint32_t channels, cuuint32_t pixels,
                                        const cuuint32_t* step, CUtensorMapInterleave,
                                        CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                                        CUtensorMapFloatOOBfill) {
  const auto refuse = [](const std::string& why) {
    cuda_host_refused = why;
    return CUDA_ERROR_INVALID_VALUE;
  };
  if (rank < 3 || rank > 5) return refuse("a rank that is not 3 to 5");
  const std::string tensor =
      cuda_host_refuse_tensor(map, rank, address, size, distance, step, swizzle, channels);
  if (!tensor.empty()) return refuse(tensor);
  if (channels == 0 || channels > 256) return refuse("0 channels or above 256");
  if (pixels == 0 || pixels > 1024) return refuse("0 pixels or above 1024");
  CudaHostTensorMap of{.address = static_cast<const std::int8_t*>(address)};
  const int most = rank == 3 ? 32767 : rank == 4 ? 127 : 15;
  for (cuuint32_t i = 0; i + 2 < rank; ++i) {
    for (const int corner : {lower[i], upper[i]})
      if (corner < -most - 1 || corner > most) return refuse("a corner beyond its range");
    if (static_cast<std::int64_t>(size[i + 1]) + upper[i] - lower[i] < 1)
      return refuse("a bounding box without area");
    of.lower[i] = static_cast<std::int16_t>(lower[i]), of.upper[i] = static_cast<std::int16_t>(upper[i]);
  }
  for (cuuint32_t i = 0; i < rank; ++i) {
    of.size[i] = size[i], of.step[i] = static_cast<std::uint8_t>(step[i]);
    if (i + 1 < rank) of.distance[i] = distance[i];
  }
  of.box[0] = static_cast<std::uint16_t>(channels), of.box[1] = static_cast<std::uint16_t>(pixels);
  of.rank = static_cast<std::uint8_t>(rank), of.swizzle = static_cast<std::uint8_t>(swizzle);
  of.made = cuda_host_map_made, of.im2col = true;
  std::memcpy(map, &of, sizeof of);
  return CUDA_SUCCESS;
}
