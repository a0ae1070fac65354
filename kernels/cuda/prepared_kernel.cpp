// Answers of the device by what was asked; launches come from several threads.
#include "prepared_kernel.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "check.h"

namespace octavo::kernels::cuda {
namespace {

/// The answer for a key, asked once.
template <class Key, class Answer>
class Answers {
 public:
  template <class Ask>
  Answer get(const Key& key, const Ask& ask) {
    const std::lock_guard lock(mutex_);
    const auto found = answers_.find(key);
    return found != answers_.end() ? found->second : answers_.emplace(key, ask()).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, Answer> answers_;
};

int current_device(const std::string& what) {
  int device = 0;
  check(cudaGetDevice(&device), what, "current device");
  return device;
}

int attribute(cudaDeviceAttr of, int device, const std::string& what) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, of, device), what, "attributes of the device");
  return value;
}

int ask_resident(const void* kernel, int threads, int shared, int cluster, int device,
                 const std::string& what) {
  int count = 0;
  if (cluster == 1) {
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, kernel, threads,
                                                        static_cast<std::size_t>(shared)),
          what, "blocks of a multiprocessor");
    count *= attribute(cudaDevAttrMultiProcessorCount, device, what);
  } else {
    cudaLaunchAttribute size{};
    size.id = cudaLaunchAttributeClusterDimension;
    size.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(cluster));
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<std::size_t>(shared);
    config.attrs = &size;
    config.numAttrs = 1;
    check(cudaOccupancyMaxActiveClusters(&count, kernel, &config), what, "clusters of the device");
  }
  return std::max(count, 1);
}

}  // namespace

PreparedKernel prepare_kernel(const void* kernel, int shared, const std::string& what) {
  struct Known {
    PreparedKernel kernel;
    int shared = 0;  // the most that was asked for
  };
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, Known> all;
  const int device = current_device(what);
  const std::lock_guard lock(mutex);
  auto found = all.find({device, kernel});
  if (found == all.end()) {
    cudaFuncAttributes attributes{};
    check(cudaFuncGetAttributes(&attributes, kernel), what, "kernel attributes");
    found =
        all.emplace(std::pair{device, kernel}, Known{{attributes.binaryVersion, attributes.sharedSizeBytes}})
            .first;
  }
  Known& known = found->second;
  if (shared > known.shared) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared), what,
          "shared memory of the block");
    known.shared = shared;
  }
  return known.kernel;
}

int resident_clusters(const void* kernel, int threads, int shared, int cluster, const std::string& what) {
  static Answers<std::tuple<int, const void*, int, int, int>, int> answers;
  const int device = current_device(what);
  return answers.get({device, kernel, threads, shared, cluster}, [&] {
    prepare_kernel(kernel, shared, what);
    return ask_resident(kernel, threads, shared, cluster, device, what);
  });
}

int device_capability(const std::string& what) {
  static Answers<int, int> answers;
  const int device = current_device(what);
  return answers.get(device, [&] {
    return attribute(cudaDevAttrComputeCapabilityMajor, device, what) * 10 +
           attribute(cudaDevAttrComputeCapabilityMinor, device, what);
  });
}

}  // namespace octavo::kernels::cuda
