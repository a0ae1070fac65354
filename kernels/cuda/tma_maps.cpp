// The driver's functions are asked for by name, so that nothing is linked against libcuda.
#include "tma_maps.h"

#include "check.h"
#include "conv_plan.h"

namespace octavo::kernels::cuda {
namespace {

template <class Function>
Function* driver_function(const char* name, const std::string& what) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found), what, name);
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    throw std::runtime_error(what + "the driver has no " + name + "; update it, or set OCTAVO_CUDA_TMA=0");
  return reinterpret_cast<Function*>(function);
}

/// Corners are in the order of the sizes, (w, h), as the elements' steps are.
CUresult encode(const TensorShape& shape, CUtensorMapSwizzle swizzle, void* address, CUtensorMap& map,
                const std::string& what) {
  const auto rank = static_cast<cuuint32_t>(shape.rank);
  if (!shape.im2col) {
    const auto tiled = driver_function<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled", what);
    return tiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, address, shape.size, shape.distance, shape.box,
                 shape.step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  }
  const auto im2col = driver_function<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col", what);
  return im2col(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, address, shape.size, shape.distance, shape.lower,
                shape.upper, shape.box[0], shape.box[1], shape.step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

}  // namespace

ConvTma make_tensor_maps(const ConvPlan& plan, const void* a, const void* b) {
  ConvTma tma{.steps = plan.tma};
  const auto make = [&](const TensorShape& shape, const void* address, CUtensorMap& map,
                        const char* operand) {
    const CUtensorMapSwizzle swizzle =
        plan.tma.step_bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
    const CUresult result = encode(shape, swizzle, const_cast<void*>(address), map, plan.name);
    if (result != CUDA_SUCCESS)
      throw std::runtime_error(plan.name + "the driver refuses the tensor map of " + operand +
                               " with error " + std::to_string(result) + "; set OCTAVO_CUDA_TMA=0");
  };
  for (int which = 0; which < plan.gemm.classes(); ++which)
    if (is_read(plan.gemm, gemm_class(plan.gemm, which)))
      make(a_tensor(plan.gemm, plan.tma, which), a, tma.a[which], "a");
  make(b_tensor(plan.gemm, plan.tma, tile_columns(plan.tile) / plan.tma.cluster), b, tma.b, "b");
  return tma;
}

}  // namespace octavo::kernels::cuda
