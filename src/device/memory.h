// Memory of the device: blocks by what they are for, so that an error can say what holds it, and scratch
// memory of the node that runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace octavo::device {

/// Errc::resource, beginning with `what`, for an error of CUDA.
void check(cudaError_t error, const std::string& what);

class Memory {
 public:
  /// Errc::resource with table() when the device has no more.
  void* take(const std::string& purpose, std::int64_t bytes);
  void give_back(const void* data);
  std::int64_t peak_bytes() const { return peak_; }
  /// What holds memory, a line each, the largest first.
  std::string table() const;

 private:
  struct Held {
    std::string purpose;
    std::int64_t bytes;
    const void* data;
  };
  std::vector<Held> held_;
  std::int64_t bytes_ = 0, peak_ = 0;
};

/// One block of it, or none.
class Block {
 public:
  Block() = default;
  Block(Memory& memory, const std::string& purpose, std::int64_t bytes)
      : memory_(&memory), data_(memory.take(purpose, bytes)), bytes_(bytes) {}
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Block() {
    if (data_ != nullptr) memory_->give_back(data_);
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::int64_t bytes() const { return bytes_; }

 private:
  void swap(Block& other) noexcept {
    std::swap(memory_, other.memory_), std::swap(data_, other.data_), std::swap(bytes_, other.bytes_);
  }
  Memory* memory_ = nullptr;
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Memory of the host that copies to and from the device need not stage.
class PinnedBlock {
 public:
  PinnedBlock() = default;
  explicit PinnedBlock(std::int64_t bytes);
  PinnedBlock(PinnedBlock&& other) noexcept { std::swap(data_, other.data_); }
  PinnedBlock& operator=(PinnedBlock&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedBlock();
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
};

/// Pieces of a block, handed out in order. A layout runs twice: without memory, to learn its size, then with
/// it.
class Region {
 public:
  explicit Region(std::byte* base = nullptr) : base_(base) {}
  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t at = used_;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + alignment - 1) / alignment * alignment;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  std::int64_t used() const { return used_; }

 private:
  static constexpr std::int64_t alignment = 256;
  std::byte* base_;
  std::int64_t used_ = 0;
};

/// A layout runs twice: for its size, then with memory.
template <class LayOut>
Block block_of(Memory& memory, const std::string& purpose, const LayOut& lay_out) {
  Region size;
  lay_out(size);
  Block block(memory, purpose, size.used());
  Region region(block.data());
  lay_out(region);
  return block;
}

/// What one node needs while its kernels run. Nodes follow each other on one stream, so that all take the
/// same memory. It grows while a step runs kernel by kernel, never while it is captured: what is captured has
/// run like that before.
class Scratch {
 public:
  explicit Scratch(Memory& memory) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t count) {
    return static_cast<T*>(take_bytes(count * static_cast<std::int64_t>(sizeof(T))));
  }
  void clear() { block_ = 0, used_ = 0; }

 private:
  void* take_bytes(std::int64_t bytes);
  Memory& memory_;
  std::vector<Block> blocks_;
  std::size_t block_ = 0;
  std::int64_t used_ = 0;
};

}  // namespace octavo::device
