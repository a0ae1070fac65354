// How every kernel is started. Without nvcc a test's runtime runs its threads on the host.
#pragma once

#include <algorithm>

#include "check.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

struct Launch {
  dim3 blocks;
  int threads;
  cudaStream_t stream = nullptr;
  std::size_t shared = 0;       // bytes of dynamic shared memory
  const char* step = "launch";  // in what an error says
  int cluster = 1;              // blocks along x of a cluster, which sm_90 and later have
};

/// Blocks of `threads` for so much work, where a kernel loops over the rest.
inline unsigned blocks_for(std::int64_t work, int threads) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(work, threads), 1, 1 << 16));
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& how, const std::string& what,
            const Arguments&... arguments) {
#ifdef __CUDACC__
  if (how.cluster == 1) {
    kernel<<<how.blocks, static_cast<unsigned>(how.threads), how.shared, how.stream>>>(
        static_cast<Parameters>(arguments)...);
  } else {
    cudaLaunchAttribute cluster{.id = cudaLaunchAttributeClusterDimension};
    cluster.val.clusterDim = {static_cast<unsigned>(how.cluster), 1, 1};
    const cudaLaunchConfig_t config{.gridDim = how.blocks,
                                    .blockDim = dim3(static_cast<unsigned>(how.threads)),
                                    .dynamicSmemBytes = how.shared,
                                    .stream = how.stream,
                                    .attrs = &cluster,
                                    .numAttrs = 1};
    check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), what, how.step);
  }
#else
  cuda_host_launch(
      how.blocks, how.threads, how.stream, [=] { kernel(static_cast<Parameters>(arguments)...); },
      how.cluster);
#endif
  check(cudaGetLastError(), what, how.step);
}

}  // namespace octavo::kernels::cuda
