// What kernels/cuda calls of cuDNN's graphs, done by the host: attributes have the types and numbers that the
// library's header says, all of them must be set, sizes must fit, and a convolution is plain loops that run
// when the stream does; of matrix products see cudnn_matmuls.h. Heuristics offer engines with every note that
// a caller has to refuse, before one that fits.
#pragma once

#include <array>

#include "cudnn_types.h"
#include "floats.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
using cudnnHandle_t = cudnnContext*;
using cudnnBackendDescriptor_t = void*;

/// Engines: of float, one with tensor cores and one without; of integers, one; of
/// matrix products one that is compiled for the device. Workspaces are in bytes.
enum class CudnnHostEngine { none, unordered, reordered, tensor_cores, plain, compiled };

struct CudnnHostDescriptor {
  cudnnBackendDescriptorType_t type;
  bool final = false;
  std::map<cudnnBackendAttributeName_t, std::vector<char>> values;
  CudnnHostEngine engine = CudnnHostEngine::none;
  const CudnnHostDescriptor* graph = nullptr;  // of an engine

  template <class T>
  T get(cudnnBackendAttributeName_t name, std::size_t index = 0) const {
    T value;
    std::memcpy(&value, values.at(name).data() + index * sizeof(T), sizeof(T));
    return value;
  }
  const CudnnHostDescriptor& descriptor(int name) const {
    return *get<const CudnnHostDescriptor*>(static_cast<cudnnBackendAttributeName_t>(name));
  }
  std::size_t count(cudnnBackendAttributeName_t name, std::size_t bytes) const {
    return values.at(name).size() / bytes;
  }
};

struct CudnnHost {
  std::set<const void*> descriptors;  // that exist
  int handles = 0, plans = 0, products = 0;
  int fused = 0;  // of those products: with results that are floats of a matrix product
  bool without_driver = false, without_engines = false, without_compiler = false;
};
inline CudnnHost cudnn_host;

inline const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_INITIALIZED                ? "CUDNN_STATUS_NOT_INITIALIZED"
         : status == CUDNN_STATUS_NOT_SUPPORTED                ? "CUDNN_STATUS_NOT_SUPPORTED"
         : status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER ? "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"
                                                               : "CUDNN_STATUS_BAD_PARAM";
}
inline void cudnnGetLastErrorString(char* text, std::size_t size) {
  std::strncpy(text, "of the host", size - 1);
}

inline cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (cuda_host.captures > 0) return CUDNN_STATUS_INTERNAL_ERROR;
  if (cudnn_host.without_driver) return CUDNN_STATUS_NOT_INITIALIZED;
  ++cudnn_host.handles;
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  --cudnn_host.handles;
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                                  cudnnBackendDescriptor_t* made) {
  auto* const descriptor = new CudnnHostDescriptor{.type = type};
  cudnn_host.descriptors.insert(descriptor);
  *made = descriptor;
  return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  cudnn_host.descriptors.erase(descriptor);
  delete static_cast<CudnnHostDescriptor*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

inline std::size_t cudnn_host_bytes(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_CHAR:
    case CUDNN_TYPE_BOOLEAN:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}
inline cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, std::int64_t count,
                                              const void* values) {
  auto& descriptor = *static_cast<CudnnHostDescriptor*>(to);
  const auto known = cudnn_host_attributes(descriptor.type);
  const auto found = known.find(name);
  if (descriptor.final || found == known.end() || found->second.type != type || count < 1 ||
      (found->second.count != 0 && found->second.count != count))
    return CUDNN_STATUS_BAD_PARAM;
  for (std::int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < count; ++i) {
    const auto* const value = static_cast<const CudnnHostDescriptor* const*>(values)[i];
    if (cudnn_host.descriptors.count(value) == 0 || !value->final) return CUDNN_STATUS_BAD_PARAM;
  }
  const auto* const bytes = static_cast<const char*>(values);
  descriptor.values[name] = {bytes, bytes + static_cast<std::size_t>(count) * cudnn_host_bytes(type)};
  return CUDNN_STATUS_SUCCESS;
}

#include "cudnn_convolution.h"
#include "cudnn_matmuls.h"

inline cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t to) {
  auto& descriptor = *static_cast<CudnnHostDescriptor*>(to);
  for (const auto& [name, what] : cudnn_host_attributes(descriptor.type))
    if (!what.optional && descriptor.values.count(name) == 0) return CUDNN_STATUS_BAD_PARAM;
  if (cuda_host.captures > 0 && descriptor.type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
    return CUDNN_STATUS_INTERNAL_ERROR;  // a plan in a step
  if (descriptor.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    const cudnnStatus_t status =
        CudnnHostMatmul::is(descriptor)
            ? CudnnHostMatmul(descriptor).check()
            : CudnnHostConvolution(descriptor.descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS)).check();
    if (status != CUDNN_STATUS_SUCCESS) return status;
  }
  if (descriptor.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    if (cudnn_host.without_compiler &&
        descriptor.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).engine == CudnnHostEngine::compiled)
      return CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER;
    ++cudnn_host.plans;
  }
  descriptor.final = true;
  return CUDNN_STATUS_SUCCESS;
}

/// Engines of a heuristic, the best first.
inline std::vector<CudnnHostEngine> cudnn_host_engines(const CudnnHostDescriptor& heuristic) {
  if (cudnn_host.without_engines) return {CudnnHostEngine::unordered};
  const bool fallback =
      heuristic.get<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
  const CudnnHostDescriptor& graph = heuristic.descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  if (CudnnHostMatmul::is(graph)) return {CudnnHostEngine::reordered, CudnnHostEngine::compiled};
  const CudnnHostConvolution convolution(graph.descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS));
  if (convolution.integers())
    return fallback ? std::vector{CudnnHostEngine::reordered, CudnnHostEngine::plain}
                    : std::vector{CudnnHostEngine::reordered};
  return fallback ? std::vector{CudnnHostEngine::unordered, CudnnHostEngine::plain}
                  : std::vector{CudnnHostEngine::unordered, CudnnHostEngine::tensor_cores};
}
inline std::int64_t cudnn_host_workspace(CudnnHostEngine engine) {
  return engine == CudnnHostEngine::plain ? 4096 : 131;
}

inline cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, std::int64_t most,
                                              std::int64_t* count, void* values) {
  const auto& descriptor = *static_cast<const CudnnHostDescriptor*>(of);
  const auto fills = [&](std::int64_t index) -> CudnnHostDescriptor& {
    return **(static_cast<CudnnHostDescriptor**>(values) + index);
  };
  const auto asked = [&](cudnnBackendAttributeName_t wanted, cudnnBackendAttributeType_t wanted_type) {
    return name == wanted && type == wanted_type;
  };
  *count = 0;
  if (!descriptor.final) return CUDNN_STATUS_BAD_PARAM;
  if (asked(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR)) {
    const std::vector<CudnnHostEngine> engines = cudnn_host_engines(descriptor);
    // The library says how many there may be, and gives fewer.
    *count = most == 0 ? std::ssize(engines) + 1 : std::ssize(engines);
    for (std::int64_t i = 0; most > 0 && i < *count; ++i) {
      CudnnHostDescriptor& config = fills(i);
      config.final = true, config.engine = engines[static_cast<std::size_t>(i)];
      config.graph = &descriptor.descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    }
  } else if (asked(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR)) {
    *count = 1;
    fills(0).final = true, fills(0).engine = descriptor.engine;
  } else if (asked(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE)) {
    const CudnnHostEngine engine = descriptor.engine;
    if (engine == CudnnHostEngine::plain || engine == CudnnHostEngine::reordered) return CUDNN_STATUS_SUCCESS;
    *count = 1;
    *static_cast<cudnnBackendNumericalNote_t*>(values) = engine == CudnnHostEngine::unordered
                                                             ? CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC
                                                             : CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
  } else if (asked(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE)) {
    const bool compiled = descriptor.engine == CudnnHostEngine::compiled;
    *count = compiled || descriptor.engine == CudnnHostEngine::reordered ? 1 : 0;
    if (*count > 0)
      *static_cast<cudnnBackendBehaviorNote_t*>(values) =
          compiled ? CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION
                   : CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER;
  } else if (asked(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64)) {
    *count = 1;
    *static_cast<std::int64_t*>(values) =
        cudnn_host_workspace(descriptor.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).engine);
  } else {
    return CUDNN_STATUS_BAD_PARAM;
  }
  return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                         cudnnBackendDescriptor_t pack) {
  const auto& planned = *static_cast<const CudnnHostDescriptor*>(plan);
  const auto& pointers = *static_cast<const CudnnHostDescriptor*>(pack);
  const CudnnHostDescriptor& config = planned.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (!planned.final || !pointers.final || cudnn_host.descriptors.count(&config) == 0 ||
      cudnn_host.descriptors.count(config.graph) == 0)
    return CUDNN_STATUS_BAD_PARAM;
  const CudnnHostDescriptor& device = planned.descriptor(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
  if (device.get<cudnnHandle_t>(CUDNN_ATTR_DEVICEPROP_HANDLE) != handle) return CUDNN_STATUS_BAD_PARAM;
  const auto begins_at = [](const void* pointer, std::int64_t alignment) {
    return pointer != nullptr &&
           reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(alignment) == 0;
  };
  std::map<std::int64_t, void*> given;
  const std::size_t count = pointers.count(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, 8);
  if (pointers.count(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, 8) != count) return CUDNN_STATUS_BAD_PARAM;
  for (std::size_t i = 0; i < count; ++i)
    given[pointers.get<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)] =
        pointers.get<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
  auto* const workspace = pointers.get<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (!begins_at(workspace, 16)) return CUDNN_STATUS_BAD_PARAM;
  if (CudnnHostMatmul::is(*config.graph)) {
    const CudnnHostMatmul matmul(*config.graph);
    for (const CudnnHostTensor& tensor : matmul.in_memory())
      if (given.count(tensor.id) == 0 || !begins_at(given[tensor.id], tensor.alignment))
        return CUDNN_STATUS_BAD_PARAM;
    if (config.engine != CudnnHostEngine::compiled) return CUDNN_STATUS_NOT_SUPPORTED;
    ++cudnn_host.products, cudnn_host.fused += matmul.scaled() ? 1 : 0;
    cuda_host_run(handle->stream, [=, bytes = cudnn_host_workspace(config.engine)] {
      std::memset(workspace, 0xFF, static_cast<std::size_t>(bytes));
      matmul.run(given);
    });
    return CUDNN_STATUS_SUCCESS;
  }
  const CudnnHostConvolution convolution(config.graph->descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS));
  std::array<void*, 3> data{};
  if (count != 3) return CUDNN_STATUS_BAD_PARAM;
  for (const auto& [id, pointer] : given) {
    const std::size_t at = convolution.tensor_of(id);
    if (at == 3) return CUDNN_STATUS_BAD_PARAM;
    data[at] = pointer;
  }
  for (std::size_t i = 0; i < 3; ++i)
    if (!begins_at(data[i], convolution.tensors[i].alignment)) return CUDNN_STATUS_BAD_PARAM;
  if (config.engine == CudnnHostEngine::unordered || config.engine == CudnnHostEngine::reordered)
    return CUDNN_STATUS_NOT_SUPPORTED;  // their notes are for a caller to refuse
  ++cudnn_host.products;
  cuda_host_run(handle->stream, [=, bytes = cudnn_host_workspace(config.engine),
                                 tensor_cores = config.engine == CudnnHostEngine::tensor_cores] {
    std::memset(workspace, 0xFF, static_cast<std::size_t>(bytes));
    convolution.run(data, tensor_cores);
  });
  return CUDNN_STATUS_SUCCESS;
}
