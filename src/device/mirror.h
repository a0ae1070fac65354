// A block of the device with its twin on the host, copied as a whole.
#pragma once

#include "device/memory.h"

namespace octavo::device {

class Mirror {
 public:
  Mirror() = default;
  Mirror(Memory& memory, const std::string& purpose, std::int64_t bytes)
      : device_(memory, purpose, bytes), host_(bytes) {}

  Region region() const { return Region(device_.data()); }
  const std::byte* data() const { return device_.data(); }
  /// The host's twin of an address inside.
  template <class T>
  T* host(const T* of_device) const {
    return reinterpret_cast<T*>(host_.data() +
                                (reinterpret_cast<const std::byte*>(of_device) - device_.data()));
  }
  void to_device(cudaStream_t stream) const {
    copy(device_.data(), host_.data(), cudaMemcpyHostToDevice, stream);
  }
  void to_host(cudaStream_t stream) const {
    copy(host_.data(), device_.data(), cudaMemcpyDeviceToHost, stream);
  }
  void clear(cudaStream_t stream) const {
    check(cudaMemsetAsync(device_.data(), 0, static_cast<std::size_t>(device_.bytes()), stream), "clearing");
  }

 private:
  void copy(void* to, const void* from, cudaMemcpyKind kind, cudaStream_t stream) const {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(device_.bytes()), kind, stream),
          "copy of a block");
  }
  Block device_;
  PinnedBlock host_;
};

template <class LayOut>
Mirror mirror_of(Memory& memory, const std::string& purpose, const LayOut& lay_out) {
  Region size;
  lay_out(size);
  Mirror mirror(memory, purpose, size.used());
  Region region = mirror.region();
  lay_out(region);
  return mirror;
}

}  // namespace octavo::device
