#include "octavo/tensor.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

#include "core/check.h"

namespace octavo {

const char* dtype_name(DType dtype) {
  static constexpr const char* names[] = {"f32", "bf16", "s8", "u8", "s32", "i64"};
  return names[static_cast<int>(dtype)];
}

std::int64_t dtype_size(DType dtype) {
  static constexpr std::int64_t sizes[] = {4, 2, 1, 1, 4, 8};
  return sizes[static_cast<int>(dtype)];
}

std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  require(a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product), Errc::config, "size ", a, " x ", b,
          " is negative or does not fit 63 bits");
  return product;
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (std::int64_t size : sizes_) product = checked_multiply(product, size);
  return product;
}

std::string Shape::str() const {
  std::string text;
  for (std::int64_t size : sizes_) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

namespace {
constexpr std::size_t cache_line = 64, huge_page = std::size_t{2} << 20;

std::shared_ptr<std::byte> allocate(std::int64_t bytes) {
  // Rounded up so that a vector load of the last elements stays inside.
  const std::size_t size = (static_cast<std::size_t>(bytes) + 127) / 64 * 64;
  const bool large = size >= 2 * huge_page;
  const std::align_val_t alignment{large ? huge_page : cache_line};
  void* memory = ::operator new(size, alignment, std::nothrow);
  require(memory != nullptr, Errc::resource, "cannot allocate ", size, " bytes");
  // A chain walks through several large tensors at once: on small pages it waits for address translation. A
  // system without huge pages refuses, and nothing is lost.
  if (large) madvise(memory, size, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(memory), [alignment](std::byte* p) { ::operator delete(p, alignment); }};
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<std::uint16_t>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<std::int8_t>() {
  return DType::s8;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::s32;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::i64;
}
}  // namespace

Tensor Tensor::empty(Shape shape, DType dtype) {
  Tensor tensor;
  tensor.type_ = {dtype, std::move(shape)};
  tensor.storage_ = allocate(tensor.type_.bytes());
  return tensor;
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor tensor = empty(std::move(shape), dtype);
  std::memset(tensor.data(), 0, static_cast<std::size_t>(tensor.bytes()));
  return tensor;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype());
  std::memcpy(copy.data(), data(), static_cast<std::size_t>(bytes()));
  return copy;
}

template <class T>
std::span<T> Tensor::as() {
  require(dtype() == dtype_of<T>(), Errc::internal, "tensor of ", dtype_name(dtype()), " read as ",
          dtype_name(dtype_of<T>()));
  return {reinterpret_cast<T*>(storage_.get()), static_cast<std::size_t>(elements())};
}

template <class T>
std::span<const T> Tensor::as() const {
  return const_cast<Tensor*>(this)->as<T>();
}

#define OCTAVO_INSTANTIATE(T)                       \
  template OCTAVO_API std::span<T> Tensor::as<T>(); \
  template OCTAVO_API std::span<const T> Tensor::as<T>() const;
OCTAVO_INSTANTIATE(float)
OCTAVO_INSTANTIATE(std::uint16_t)
OCTAVO_INSTANTIATE(std::int8_t)
OCTAVO_INSTANTIATE(std::uint8_t)
OCTAVO_INSTANTIATE(std::int32_t)
OCTAVO_INSTANTIATE(std::int64_t)
#undef OCTAVO_INSTANTIATE

}  // namespace octavo
