// Memory that is handed out piece by piece and taken back all at once: what one node needs while it runs.
// Blocks are kept, so that nothing is allocated once every node has run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

namespace octavo {

class NodeMemory {
 public:
  /// `count` values, T{} each, until clear().
  template <class T>
  std::span<T> take(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= alignment);
    T* values = static_cast<T*>(take_bytes(count * sizeof(T)));
    std::uninitialized_value_construct_n(values, count);
    return {values, count};
  }
  template <class T>
  std::span<T> copy(std::span<const T> from, std::size_t more = 0) {
    const std::span<T> values = take<T>(from.size() + more);
    std::copy(from.begin(), from.end(), values.begin());
    return values;
  }
  void clear() { block_ = used_ = 0; }

 private:
  static constexpr std::size_t alignment = 64, block_bytes = 1 << 16;
  struct alignas(alignment) Unit {
    std::byte bytes[alignment];
  };
  struct Block {
    std::unique_ptr<Unit[]> units;
    std::size_t count;
  };

  void* take_bytes(std::size_t bytes) {
    const std::size_t units = (bytes + alignment - 1) / alignment;
    while (block_ < blocks_.size() && used_ + units > blocks_[block_].count) ++block_, used_ = 0;
    if (block_ == blocks_.size()) {
      const std::size_t count = std::max(units, block_bytes / alignment);
      blocks_.push_back({std::make_unique_for_overwrite<Unit[]>(count), count});
    }
    Unit* start = blocks_[block_].units.get() + used_;
    used_ += units;
    return start;
  }

  std::vector<Block> blocks_;
  std::size_t block_ = 0, used_ = 0;
};

/// A list in such memory.
template <class T>
class NodeList {
 public:
  explicit NodeList(NodeMemory& memory) : memory_(memory) {}
  void push_back(const T& value) {
    if (size_ == room_.size()) room_ = memory_.copy<T>(room_, std::max<std::size_t>(8, size_));
    room_[size_++] = value;
  }
  void pop_back() { --size_; }
  void resize(std::size_t size) { size_ = size; }  // to less
  std::size_t size() const { return size_; }
  std::span<T> values() const { return room_.first(size_); }

 private:
  NodeMemory& memory_;
  std::span<T> room_;
  std::size_t size_ = 0;
};

}  // namespace octavo
