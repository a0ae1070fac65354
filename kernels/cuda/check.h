// Every CUDA call goes through check(): an error names the kernel, its sizes and what to do.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace octavo::kernels::cuda {

/// Throws std::runtime_error "<what><step>: <CUDA's name and text>. <hint>". The runtime forgets the error,
/// so that one which the caller handles is not found again after the next launch.
inline void check(cudaError_t error, const std::string& what, const char* step = "") {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  std::string hint;
  if (error == cudaErrorMemoryAllocation) hint = "Use a smaller batch, or free memory on the device.";
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion)
    hint = "Build with CMAKE_CUDA_ARCHITECTURES naming this card.";
  if (error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice)
    hint = "Check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES.";
  if (error == cudaErrorIllegalAddress) hint = "Run again under compute-sanitizer.";
  throw std::runtime_error(what + step + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error) +
                           ". " + hint);
}

}  // namespace octavo::kernels::cuda
