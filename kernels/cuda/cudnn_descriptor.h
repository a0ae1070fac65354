// Descriptors of cuDNN's graphs: attributes by the type of their values, every call checked.
#pragma once

#include <cudnn_graph.h>

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace octavo::kernels::cuda {

/// The last error, by the library's words.
inline std::string describe_cudnn(cudnnStatus_t status) {
  char detail[512] = "";
  cudnnGetLastErrorString(detail, sizeof(detail));
  return std::string(cudnnGetErrorString(status)) + ", " + detail;
}
inline void check_cudnn(cudnnStatus_t status, const std::string& what, const char* step) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::string hint;
  if (status == CUDNN_STATUS_NOT_INITIALIZED)
    hint = " Check the driver with nvidia-smi, and that all parts of cuDNN have one version.";
  throw std::runtime_error(what + step + ": " + describe_cudnn(status) + "." + hint);
}
/// The library cannot do it: of another engine or product that may be no error.
inline bool cudnn_cannot(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
}

template <class T>
inline constexpr cudnnBackendAttributeType_t attribute_type = CUDNN_TYPE_BACKEND_DESCRIPTOR;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnConvolutionMode_t> =
    CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendNumericalNote_t> =
    CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendBehaviorNote_t> =
    CUDNN_TYPE_BEHAVIOR_NOTE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnHandle_t> = CUDNN_TYPE_HANDLE;

class CudnnDescriptor {
 public:
  CudnnDescriptor(cudnnBackendDescriptorType_t type, const std::string& what) : what_(&what) {
    cudnnBackendDescriptor_t made = nullptr;
    check_cudnn(cudnnBackendCreateDescriptor(type, &made), what, "cudnnBackendCreateDescriptor");
    owned_ = {made, cudnnBackendDestroyDescriptor};
  }
  cudnnBackendDescriptor_t get() const { return owned_.get(); }

  template <class T>
  CudnnDescriptor& set_all(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return set_raw(name, attribute_type<T>, static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set_raw(name, attribute_type<T>, 1, &value);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    const cudnnBackendDescriptor_t raw = value.get();
    return set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  }
  CudnnDescriptor& set_descriptors(cudnnBackendAttributeName_t name,
                                   std::span<const CudnnDescriptor* const> values) {
    std::vector<cudnnBackendDescriptor_t> raw;
    raw.reserve(values.size());
    for (const CudnnDescriptor* each : values) raw.push_back(each->get());
    return set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
  }
  /// Pointers of the device.
  CudnnDescriptor& set_pointers(cudnnBackendAttributeName_t name, std::span<const void* const> values) {
    return set_raw(name, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(values.size()), values.data());
  }

  void finalize(const char* step) { check_cudnn(cudnnBackendFinalize(get()), *what_, step); }
  /// False where the library cannot do it.
  bool try_finalize(const char* step) {
    const cudnnStatus_t status = cudnnBackendFinalize(get());
    if (cudnn_cannot(status)) return false;
    check_cudnn(status, *what_, step);
    return true;
  }

  /// At most `most` values.
  template <class T>
  std::vector<T> get_all(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    values.resize(static_cast<std::size_t>(get_raw(name, attribute_type<T>, most, values.data())));
    return values;
  }
  /// Fills a descriptor that exists.
  void get_into(cudnnBackendAttributeName_t name, const CudnnDescriptor& to) const {
    cudnnBackendDescriptor_t raw = to.get();
    get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  }
  std::int64_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                       void* values) const {
    std::int64_t count = 0;
    check_cudnn(cudnnBackendGetAttribute(get(), name, type, most, &count, values), *what_,
                "cudnnBackendGetAttribute");
    return count;
  }

 private:
  CudnnDescriptor& set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                           std::int64_t count, const void* values) {
    check_cudnn(cudnnBackendSetAttribute(get(), name, type, count, values), *what_,
                "cudnnBackendSetAttribute");
    return *this;
  }

  const std::string* what_;  // of who owns this
  std::unique_ptr<void, cudnnStatus_t (*)(cudnnBackendDescriptor_t)> owned_{nullptr, nullptr};
};

}  // namespace octavo::kernels::cuda
