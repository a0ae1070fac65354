// Shapes with checked arithmetic, element types, and the tensor handle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/error.h"

namespace octavo {

enum class DType : std::uint8_t { f32, bf16, s8, u8, s32, i64 };

OCTAVO_API const char* dtype_name(DType dtype);
OCTAVO_API std::int64_t dtype_size(DType dtype);  ///< bytes of one element

/// a * b, or Errc::config when the product does not fit 63 bits or a factor is negative.
OCTAVO_API std::int64_t checked_multiply(std::int64_t a, std::int64_t b);

/// Sizes of a tensor, outermost first: images [N, H, W, C], weights [K, R, S, C], sequences [batch, time,
/// channel].
class OCTAVO_API Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) : sizes_(sizes) {}
  explicit Shape(std::vector<std::int64_t> sizes) : sizes_(std::move(sizes)) {}

  int rank() const { return static_cast<int>(sizes_.size()); }
  std::int64_t operator[](int axis) const { return sizes_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return sizes_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return sizes_.back(); }
  const std::vector<std::int64_t>& sizes() const { return sizes_; }
  std::int64_t elements() const;  ///< checked product; 1 for rank 0
  std::string str() const;        ///< "128x32x32x16"
  bool operator==(const Shape&) const = default;

 private:
  std::vector<std::int64_t> sizes_;
};

/// Element type and shape of one value of a graph.
struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  std::int64_t bytes() const { return checked_multiply(shape.elements(), dtype_size(dtype)); }
  bool operator==(const TensorType&) const = default;
};

/// A dense row-major array on the CPU, aligned to 64 bytes; copies of the handle share the storage.
class OCTAVO_API Tensor {
 public:
  Tensor() = default;
  static Tensor empty(Shape shape, DType dtype = DType::f32);  ///< uninitialized
  static Tensor zeros(Shape shape, DType dtype = DType::f32);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return type_.shape; }
  DType dtype() const { return type_.dtype; }
  const TensorType& type() const { return type_; }
  std::int64_t elements() const { return type_.shape.elements(); }
  std::int64_t bytes() const { return type_.bytes(); }
  void* data() { return storage_.get(); }
  const void* data() const { return storage_.get(); }

  /// The elements as T; Errc::internal when T is not the element type.
  template <class T>
  std::span<T> as();
  template <class T>
  std::span<const T> as() const;

  Tensor clone() const;

 private:
  TensorType type_;
  std::shared_ptr<std::byte> storage_;
};

}  // namespace octavo
