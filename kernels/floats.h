// Floats in memory: FP32 or bfloat16. Arithmetic on them is FP32 always.
#pragma once

#include <bit>
#include <cstdint>

// Files of an instruction set include this: what is not inlined could run on a CPU that lacks it.
#define OCTAVO_ALWAYS_INLINE [[gnu::always_inline]] inline
#define OCTAVO_INLINE_BODY __attribute__((always_inline))  // of a lambda

namespace octavo::kernels {

/// The upper half of an FP32.
struct Bf16 {
  std::uint16_t bits;
};

OCTAVO_ALWAYS_INLINE constexpr float to_float(float v) { return v; }
OCTAVO_ALWAYS_INLINE constexpr float to_float(Bf16 v) {
  return std::bit_cast<float>(std::uint32_t{v.bits} << 16);
}

/// To nearest, ties to even; a NaN stays one.
OCTAVO_ALWAYS_INLINE constexpr Bf16 to_bf16(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const std::uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
  return {static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded)};
}

OCTAVO_ALWAYS_INLINE constexpr void assign(float& to, float v) { to = v; }
OCTAVO_ALWAYS_INLINE constexpr void assign(Bf16& to, float v) { to = to_bf16(v); }

enum class FloatType : std::uint8_t { f32, bf16 };
OCTAVO_ALWAYS_INLINE constexpr std::int64_t float_bytes(FloatType type) {
  return type == FloatType::f32 ? 4 : 2;
}

/// The start of a tensor of floats that is read; null: none.
struct FloatSource {
  const void* data = nullptr;
  FloatType type = FloatType::f32;

  FloatSource() = default;
  OCTAVO_ALWAYS_INLINE FloatSource(const float* f32) : data(f32) {}
  OCTAVO_ALWAYS_INLINE FloatSource(const void* start, FloatType t) : data(start), type(t) {}
  OCTAVO_ALWAYS_INLINE explicit operator bool() const { return data != nullptr; }
  bool operator==(const FloatSource&) const = default;
  template <class T>
  OCTAVO_ALWAYS_INLINE const T* as() const {
    return static_cast<const T*>(data);
  }
  OCTAVO_ALWAYS_INLINE FloatSource operator+(std::int64_t elements) const {
    return {static_cast<const char*>(data) + elements * float_bytes(type), type};
  }
  OCTAVO_ALWAYS_INLINE float operator[](std::int64_t i) const {
    return type == FloatType::f32 ? as<float>()[i] : to_float(as<Bf16>()[i]);
  }
};

/// The start of one that is written, and perhaps read.
struct FloatTarget {
  void* data = nullptr;
  FloatType type = FloatType::f32;

  FloatTarget() = default;
  OCTAVO_ALWAYS_INLINE FloatTarget(float* f32) : data(f32) {}
  OCTAVO_ALWAYS_INLINE FloatTarget(void* start, FloatType t) : data(start), type(t) {}
  OCTAVO_ALWAYS_INLINE explicit operator bool() const { return data != nullptr; }
  OCTAVO_ALWAYS_INLINE operator FloatSource() const { return {data, type}; }
  template <class T>
  OCTAVO_ALWAYS_INLINE T* as() const {
    return static_cast<T*>(data);
  }
  OCTAVO_ALWAYS_INLINE FloatTarget operator+(std::int64_t elements) const {
    return {static_cast<char*>(data) + elements * float_bytes(type), type};
  }
  OCTAVO_ALWAYS_INLINE void set(std::int64_t i, float v) const {
    type == FloatType::f32 ? assign(as<float>()[i], v) : assign(as<Bf16>()[i], v);
  }
};

/// Calls work with a float or a Bf16 as the tag of the type.
template <class Work>
OCTAVO_ALWAYS_INLINE auto with_type(FloatType type, const Work& work) {
  return type == FloatType::f32 ? work(float{}) : work(Bf16{});
}

}  // namespace octavo::kernels
