// What the device says of a kernel and what a kernel is told before its launches, once for each device: a
// launch then asks nothing, and a kernel that was prepared when a plan was made is loaded, so that its first
// use may fall into the capture of a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace octavo::kernels::cuda {

struct PreparedKernel {
  int code = 0;  // ten times the compute capability that it was compiled for
  std::size_t static_shared = 0;
};

/// Of the current device. `shared`: bytes of dynamic shared memory that launches take at most. Throws
/// std::runtime_error, beginning with `what`, for errors of CUDA.
PreparedKernel prepare_kernel(const void* kernel, int shared, const std::string& what);

/// Clusters of so many blocks that the current device keeps at once, at least 1; the kernel is prepared.
int resident_clusters(const void* kernel, int threads, int shared, int cluster, const std::string& what);

/// Ten times the compute capability of the current device.
int device_capability(const std::string& what);

}  // namespace octavo::kernels::cuda
