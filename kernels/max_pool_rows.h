// Rows of max pooling; compiled for each instruction set.
#pragma once

#include <cstring>
#include <type_traits>

#include "max_pool.h"

namespace octavo::kernels {
namespace {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif
using Floats [[gnu::vector_size(lanes * 4)]] = float;
using Ints [[gnu::vector_size(lanes * 4)]] = std::int32_t;
using Words [[gnu::vector_size(lanes * 4)]] = std::uint32_t;
using Halves [[gnu::vector_size(lanes * 2)]] = std::uint16_t;

template <class Vector>
OCTAVO_ALWAYS_INLINE void read(Vector& v, const void* from, std::int64_t count) {
  if (count < lanes)
    v = Vector{}, std::memcpy(&v, from, static_cast<std::size_t>(count) * (sizeof v / lanes));
  else
    std::memcpy(&v, from, sizeof v);
}
template <class Vector>
OCTAVO_ALWAYS_INLINE void write(const Vector& v, void* to, std::int64_t count) {
  std::memcpy(to, &v, count < lanes ? static_cast<std::size_t>(count) * (sizeof v / lanes) : sizeof v);
}

OCTAVO_ALWAYS_INLINE void load(Floats& v, const float* from, std::int64_t count) { read(v, from, count); }
OCTAVO_ALWAYS_INLINE void load(Floats& v, const Bf16* from, std::int64_t count) {
  Halves halves;
  read(halves, from, count);
  v = reinterpret_cast<Floats>(__builtin_convertvector(halves, Words) << 16);
}
/// Values that the type holds.
OCTAVO_ALWAYS_INLINE void store(const Floats& v, float* to, std::int64_t count) { write(v, to, count); }
OCTAVO_ALWAYS_INLINE void store(const Floats& v, Bf16* to, std::int64_t count) {
  write(__builtin_convertvector(reinterpret_cast<Words>(v) >> 16, Halves), to, count);
}
/// All bits set where a value is a NaN.
OCTAVO_ALWAYS_INLINE Ints is_nan(const Floats& v) { return v != v; }  // NOLINT(misc-redundant-expression)

/// What the type holds of a value, as by to_bf16().
OCTAVO_ALWAYS_INLINE void round(Floats&, const float*) {}
OCTAVO_ALWAYS_INLINE void round(Floats& v, const Bf16*) {
  const auto bits = reinterpret_cast<Words>(v);
  const Words rounded = bits + 0x7FFF + (bits >> 16 & 1), quiet = bits | 0x400000;
  v = reinterpret_cast<Floats>((is_nan(v) ? quiet : rounded) & 0xFFFF0000);
}

/// `vectors` vectors of channels from `ch` on: comparisons of one wait for each other.
template <int vectors, class Element>
OCTAVO_ALWAYS_INLINE void pool_channels(const MaxPool& pool, const Element* in, PoolAxis::Range rows,
                                        PoolAxis::Range columns, std::int64_t ch, Element* out,
                                        std::int32_t* where) {
  const std::int64_t c = pool.c, width = pool.w.size, first = rows.begin * width + columns.begin;
  const std::int64_t count = vectors > 1 ? lanes : c - ch;
  Floats largest[vectors], v;
  Ints index[vectors];
  for (int k = 0; k < vectors; ++k) {
    load(largest[k], in + first * c + ch + k * lanes, count);
    index[k] = Ints{} + static_cast<std::int32_t>(first);
  }
  for (std::int64_t p = rows.begin; p < rows.end; ++p)
    for (std::int64_t q = columns.begin; q < columns.end; ++q)
      for (int k = 0; k < vectors; ++k) {
        load(v, in + (p * width + q) * c + ch + k * lanes, count);
        const Ints takes = (v > largest[k]) | is_nan(v);
        largest[k] = takes ? v : largest[k];
        index[k] = takes ? Ints{} + static_cast<std::int32_t>(p * width + q) : index[k];
      }
  for (int k = 0; k < vectors; ++k) {
    round(largest[k], in);
    store(largest[k], out + ch + k * lanes, count);
    if (where != nullptr) write(index[k], where + ch + k * lanes, count);
  }
}

template <int vectors, class Element>
OCTAVO_ALWAYS_INLINE void gather_channels(const MaxPool& pool, const Element* grad, const std::int32_t* where,
                                          PoolAxis::Range rows, PoolAxis::Range columns, std::int64_t ch,
                                          std::int64_t pixel, Element* out) {
  const std::int64_t c = pool.c, count = vectors > 1 ? lanes : c - ch;
  Floats sum[vectors]{}, gradient;
  for (std::int64_t p = rows.begin; p < rows.end; ++p)
    for (std::int64_t q = columns.begin; q < columns.end; ++q)
      for (int k = 0; k < vectors; ++k) {
        const std::int64_t at = (p * pool.w.outputs + q) * c + ch + k * lanes;
        Ints chosen;
        read(chosen, where + at, count);
        load(gradient, grad + at, count);
        Floats next = sum[k] + gradient;
        if (p > rows.begin || q > columns.begin) round(next, grad);  // the first is exact
        sum[k] = chosen == static_cast<std::int32_t>(pixel) ? next : sum[k];
      }
  for (int k = 0; k < vectors; ++k) store(sum[k], out + pixel * c + ch + k * lanes, count);
}

/// Calls body(integral_constant vectors, ch) until all channels are done.
template <class Body>
OCTAVO_ALWAYS_INLINE void each_channels(std::int64_t c, const Body& body) {
  std::int64_t ch = 0;
  for (; ch + 4 * lanes <= c; ch += 4 * lanes) body(std::integral_constant<int, 4>{}, ch);
  for (; ch < c; ch += lanes) body(std::integral_constant<int, 1>{}, ch);
}

template <class Element>
void forward(const MaxPool& pool, const Element* in, std::int64_t row, Element* out, std::int32_t* where) {
  const PoolAxis::Range rows = pool.h.pixels_of(row);
  for (std::int64_t j = 0; j < pool.w.outputs; ++j) {
    const PoolAxis::Range columns = pool.w.pixels_of(j);
    const std::int64_t at = (row * pool.w.outputs + j) * pool.c;
    each_channels(pool.c, [&](auto vectors, std::int64_t ch) {
      pool_channels<vectors>(pool, in, rows, columns, ch, out + at, where == nullptr ? nullptr : where + at);
    });
  }
}

template <class Element>
void backward(const MaxPool& pool, const Element* grad, const std::int32_t* where, std::int64_t row,
              Element* out) {
  const PoolAxis::Range rows = pool.h.windows_of(row);
  for (std::int64_t j = 0; j < pool.w.size; ++j) {
    const PoolAxis::Range columns = pool.w.windows_of(j);
    each_channels(pool.c, [&](auto vectors, std::int64_t ch) {
      gather_channels<vectors>(pool, grad, where, rows, columns, ch, row * pool.w.size + j, out);
    });
  }
}

inline void forward_of_type(const MaxPool& pool, FloatSource in, std::int64_t row, FloatTarget out,
                            std::int32_t* where) {
  with_type(in.type, [&](auto element) {
    using Element = decltype(element);
    forward(pool, in.as<Element>(), row, out.as<Element>(), where);
  });
}

inline void backward_of_type(const MaxPool& pool, FloatSource grad, const std::int32_t* where,
                             std::int64_t row, FloatTarget out) {
  with_type(grad.type, [&](auto element) {
    using Element = decltype(element);
    backward(pool, grad.as<Element>(), where, row, out.as<Element>());
  });
}

}  // namespace
}  // namespace octavo::kernels
