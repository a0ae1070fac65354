// What the CUDA backend and its tests call of the CUDA runtime, done by the host: memory is the host's, a
// launch runs its blocks on fibers (support/cuda_fibers.h). What is told to a stream waits until something
// waits for it, as late as CUDA may be, or is noted while the stream is captured; the null stream waits for
// all others and works at once. What CUDA refuses during a capture is refused. Memory begins as 0xFF. Kernel
// sources and host functions compile with g++ when this folder comes first in the include path.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda.h"
#include "support/cuda_fibers.h"

using dim3 = Dim3;

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorMemoryAllocation,
  cudaErrorNoKernelImageForDevice,
  cudaErrorUnsupportedPtxVersion,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorIllegalAddress,
  cudaErrorStreamCaptureUnsupported
};
inline const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess ? "cudaSuccess" : "error";
}
inline const char* cudaGetErrorString(cudaError_t) { return "of the host"; }

using CudaHostClock = std::chrono::steady_clock;
using CudaWork = std::vector<std::function<void()>>;
struct CudaHostStream {
  bool capturing = false;
  CudaWork noted;                          // while it is captured
  std::deque<std::function<void()>> late;  // told, not done
  long long told = 0, done = 0;
};
struct CudaHostEvent {
  CudaHostClock::time_point time;
  CudaHostStream* stream = nullptr;
  long long position = 0;  // of the stream's work
};
struct CudaHostState {
  std::set<CudaHostStream*> streams;
  int captures = 0;
  cudaError_t last_error = cudaSuccess;
  int graph_launches = 0;
  int kernels = 0;                       // that were launched or, while a stream is captured, noted
  std::size_t largest_block = SIZE_MAX;  // what a device without memory is made of
};
inline CudaHostState cuda_host;

inline void cuda_host_finish(CudaHostStream* stream, long long position) {
  while (cuda_host.streams.count(stream) > 0 && stream->done < position) {
    const std::function<void()> work = std::move(stream->late.front());
    stream->late.pop_front();
    ++stream->done;
    work();
  }
}
inline void cuda_host_finish() {
  for (CudaHostStream* stream : std::set(cuda_host.streams)) cuda_host_finish(stream, stream->told);
}
/// The error of a call that a capture forbids.
inline cudaError_t cuda_host_outside_capture() {
  return cuda_host.captures > 0 ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

inline cudaError_t cudaGetLastError() { return std::exchange(cuda_host.last_error, cudaSuccess); }
inline cudaError_t cudaDeviceSynchronize() {
  if (cuda_host.captures == 0) cuda_host_finish();
  return cuda_host_outside_capture();
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (cuda_host.captures > 0) return cudaErrorStreamCaptureUnsupported;
  if (bytes > cuda_host.largest_block) return cudaErrorMemoryAllocation;
  const std::size_t whole = (bytes + 255) / 256 * 256;
  *data = std::aligned_alloc(256, whole);
  if (*data == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xFF, whole);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMalloc(T** data, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(data), bytes);
}
inline cudaError_t cudaFree(void* data) {
  if (cuda_host.captures > 0) return cudaErrorStreamCaptureUnsupported;
  cuda_host_finish();
  std::free(data);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** data, std::size_t bytes) { return cudaMalloc(data, bytes); }
inline cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cuda_host_outside_capture();
}
struct cudaDeviceProp {
  char name[256];
  int multiProcessorCount;
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"the host", 4};
  return cudaSuccess;
}
enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMultiProcessorCount
};
inline int cuda_host_capability = OCTAVO_ARCH / 10;
inline std::size_t cuda_host_static_shared = 1024;  // of every kernel
/// What a test changes makes it another device, of which nothing is known yet.
inline cudaError_t cudaGetDevice(int* device) {
  *device = OCTAVO_ARCH / 10 - cuda_host_capability + (cuda_host_static_shared == 0 ? 1000 : 0);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr of, int) {
  *value = of == cudaDevAttrComputeCapabilityMajor   ? cuda_host_capability / 10
           : of == cudaDevAttrComputeCapabilityMinor ? cuda_host_capability % 10
                                                     : 4;
  return cudaSuccess;
}
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (cuda_host.captures > 0) return cudaErrorStreamCaptureUnsupported;
  cuda_host_finish();
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  if (cuda_host.captures > 0) return cudaErrorStreamCaptureUnsupported;
  if (to == nullptr) return bytes == 0 ? cudaSuccess : cudaErrorInvalidValue;
  cuda_host_finish();
  std::memset(to, value, bytes);
  return cudaSuccess;
}

using cudaStream_t = CudaHostStream*;
inline void cuda_host_run(cudaStream_t stream, std::function<void()> work) {
  if (stream == nullptr) {
    cuda_host.last_error = cuda_host_outside_capture();
    cuda_host_finish();
    work();
  } else if (stream->capturing) {
    stream->noted.push_back(std::move(work));
  } else {
    stream->late.push_back(std::move(work));
    ++stream->told;
  }
}

using cudaEvent_t = CudaHostEvent*;
enum { cudaEventDisableTiming = 2 };
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CudaHostEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  *ms = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream == nullptr) cuda_host_finish();
  *event = {CudaHostClock::now(), stream, stream != nullptr ? stream->told : 0};
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (cuda_host.captures == 0) cuda_host_finish(event->stream, event->position);
  return cuda_host_outside_capture();
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  cuda_host_run(stream, [of = *event] { cuda_host_finish(of.stream, of.position); });
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CudaHostStream;
  cuda_host.streams.insert(*stream);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (cuda_host.captures > 0) return cudaErrorStreamCaptureUnsupported;
  if (stream == nullptr)
    cuda_host_finish();
  else
    cuda_host_finish(stream, stream->told);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cuda_host_finish(stream, stream->told);
  cuda_host.streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  cuda_host_run(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
  cuda_host_run(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                                     std::size_t width, std::size_t rows, cudaMemcpyKind,
                                     cudaStream_t stream) {
  cuda_host_run(stream, [=] {
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                  width);
  });
  return cudaSuccess;
}
using cudaGraph_t = CudaWork*;
using cudaGraphExec_t = CudaWork*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = true;
  stream->noted.clear();
  ++cuda_host.captures;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  stream->capturing = false;
  --cuda_host.captures;
  *graph = new CudaWork(std::exchange(stream->noted, {}));
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CudaWork(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ++cuda_host.graph_launches;
  cuda_host_run(stream, [all = *exec] {
    for (const std::function<void()>& work : all) work();
  });
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
struct cudaFuncAttributes {
  int binaryVersion;
  std::size_t sharedSizeBytes;
};
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {OCTAVO_ARCH / 10, cuda_host_static_shared};
  return cudaSuccess;
}

enum cudaLaunchAttributeID { cudaLaunchAttributeClusterDimension };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    Dim3 clusterDim;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};
/// Few, so that persistent blocks take several tiles.
inline int cuda_host_resident = 3;
inline cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void*, const cudaLaunchConfig_t*) {
  *clusters = cuda_host_resident;
  return cudaSuccess;
}
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, std::size_t) {
  *blocks = 1;
  return cudaSuccess;
}

enum cudaDriverEntryPointQueryResult {
  cudaDriverEntryPointSuccess,
  cudaDriverEntryPointSymbolNotFound,
  cudaDriverEntryPointVersionNotSufficent
};
enum { cudaEnableDefault = 0 };
inline bool cuda_host_has_tensor_maps = true;
inline cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                                    unsigned long long,
                                                    cudaDriverEntryPointQueryResult* found) {
  const std::string name = symbol;
  *function = !cuda_host_has_tensor_maps          ? nullptr
              : name == "cuTensorMapEncodeTiled"  ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled)
              : name == "cuTensorMapEncodeIm2col" ? reinterpret_cast<void*>(&cuTensorMapEncodeIm2col)
                                                  : nullptr;
  *found = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

namespace octavo::kernels::cuda {

/// The fibers of one block or cluster, made once for each number of threads, whole warps.
inline test::FiberBlock& fibers_of(int threads, int cluster) {
  static std::map<std::pair<int, int>, std::unique_ptr<test::FiberBlock>> blocks;
  auto& block = blocks[{threads, cluster}];
  if (!block)
    block = std::make_unique<test::FiberBlock>(threads, static_cast<unsigned>(threads), threads % 64 == 0,
                                               true, cluster);
  return *block;
}

/// All blocks, one cluster after the other. Fibers beyond `threads` fill up the last warp and do nothing.
inline void cuda_host_launch(dim3 blocks, int threads, cudaStream_t stream, const std::function<void()>& body,
                             int cluster) {
  if (blocks.x % static_cast<unsigned>(cluster) != 0) {
    cuda_host.last_error = cudaErrorInvalidValue;
    return;
  }
  ++cuda_host.kernels;
  cuda_host_run(stream, [=] {
    test::FiberBlock& fibers = fibers_of((threads + 31) / 32 * 32, cluster);
    gridDim = blocks;
    for (blockIdx.y = 0; blockIdx.y < blocks.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < blocks.x; blockIdx.x += static_cast<unsigned>(cluster))
        fibers.run([&] {
          if (static_cast<int>(threadIdx.x) < threads) body();
        });
  });
}

}  // namespace octavo::kernels::cuda
