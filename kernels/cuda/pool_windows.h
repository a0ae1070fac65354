// Pooling over images [n, h, w, c]: one element of each pass, in the order of the CPU's sums
// (src/ops/max_pool.cpp, avg_pool.cpp), so that the bits are the same.
#pragma once

#include "../floats.h"
#include "../pool_axis.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

using PoolAxis = PoolAxisOf<int>;

struct PoolShape {
  int n = 1, c = 1;
  PoolAxis rows, columns;
  bool count_include_pad = true;  // average pooling

  OCTAVO_HD constexpr std::int64_t inputs() const { return std::int64_t{n} * rows.size * columns.size * c; }
  OCTAVO_HD constexpr std::int64_t outputs() const {
    return std::int64_t{n} * rows.outputs * columns.outputs * c;
  }
  /// What one pixel of a window counts.
  OCTAVO_HD constexpr float share(PoolAxis::Range i, PoolAxis::Range j) const {
    const std::int64_t inside = std::int64_t{i.end - i.begin} * (j.end - j.begin);
    const std::int64_t all = std::int64_t{rows.kernel} * columns.kernel;
    return 1.0f / static_cast<float>(count_include_pad ? all : inside);
  }
};

/// Where an element of [n, rows, columns, c] lies.
struct PoolPlace {
  int image, row, column, channel;
  OCTAVO_HD constexpr PoolPlace(std::int64_t element, int rows, int columns, int c)
      : image(static_cast<int>(element / c / columns / rows)),
        row(static_cast<int>(element / c / columns % rows)),
        column(static_cast<int>(element / c % columns)),
        channel(static_cast<int>(element % c)) {}
};
OCTAVO_HD constexpr PoolPlace output_place(const PoolShape& s, std::int64_t element) {
  return {element, s.rows.outputs, s.columns.outputs, s.c};
}
OCTAVO_HD constexpr PoolPlace input_place(const PoolShape& s, std::int64_t element) {
  return {element, s.rows.size, s.columns.size, s.c};
}
OCTAVO_HD constexpr std::int64_t input_element(const PoolShape& s, const PoolPlace& of, int row, int column) {
  return ((std::int64_t{of.image} * s.rows.size + row) * s.columns.size + column) * s.c + of.channel;
}
OCTAVO_HD constexpr std::int64_t output_element(const PoolShape& s, const PoolPlace& of, int row,
                                                int column) {
  return ((std::int64_t{of.image} * s.rows.outputs + row) * s.columns.outputs + column) * s.c + of.channel;
}

/// The maximum of a window and its pixel, the first one in row order; a NaN stays visible. where: null, or as
/// y.
template <class T>
OCTAVO_HD constexpr void max_pool(const PoolShape& s, const T* x, std::int64_t element, T* y,
                                  std::int32_t* where) {
  const PoolPlace at = output_place(s, element);
  const PoolAxis::Range i = s.rows.pixels_of(at.row), j = s.columns.pixels_of(at.column);
  int found = i.begin * s.columns.size + j.begin;
  float largest = to_float(x[input_element(s, at, i.begin, j.begin)]);
  for (int row = i.begin; row < i.end; ++row)
    for (int column = j.begin; column < j.end; ++column) {
      const float v = to_float(x[input_element(s, at, row, column)]);
      if (!(v > largest || v != v)) continue;
      largest = v;
      found = row * s.columns.size + column;
    }
  assign(y[element], largest);
  if (where != nullptr) where[element] = found;
}

/// The gradient of a pixel: those of the windows that chose it, each sum rounded to T.
template <class T>
OCTAVO_HD constexpr void max_pool_gradient(const PoolShape& s, const T* dy, const std::int32_t* where,
                                           std::int64_t element, T* dx) {
  const PoolPlace at = input_place(s, element);
  const PoolAxis::Range i = s.rows.windows_of(at.row), j = s.columns.windows_of(at.column);
  const int pixel = at.row * s.columns.size + at.column;
  T sum{};
  for (int row = i.begin; row < i.end; ++row)
    for (int column = j.begin; column < j.end; ++column) {
      const std::int64_t output = output_element(s, at, row, column);
      if (where[output] == pixel) assign(sum, to_float(sum) + to_float(dy[output]));
    }
  dx[element] = sum;
}

/// The mean of a window.
OCTAVO_HD constexpr void avg_pool(const PoolShape& s, const float* x, std::int64_t element, float* y) {
  const PoolPlace at = output_place(s, element);
  const PoolAxis::Range i = s.rows.pixels_of(at.row), j = s.columns.pixels_of(at.column);
  float sum = 0;
  for (int row = i.begin; row < i.end; ++row)
    for (int column = j.begin; column < j.end; ++column) sum += x[input_element(s, at, row, column)];
  y[element] = sum * s.share(i, j);
}

OCTAVO_HD constexpr void avg_pool_gradient(const PoolShape& s, const float* dy, std::int64_t element,
                                           float* dx) {
  const PoolPlace at = input_place(s, element);
  const PoolAxis::Range i = s.rows.windows_of(at.row), j = s.columns.windows_of(at.column);
  float sum = 0;
  for (int row = i.begin; row < i.end; ++row)
    for (int column = j.begin; column < j.end; ++column)
      sum += s.share(s.rows.pixels_of(row), s.columns.pixels_of(column)) *
             dy[output_element(s, at, row, column)];
  dx[element] = sum;
}

/// The mean of all pixels: x [n, pixels, c] to y [n, c].
template <class T>
OCTAVO_HD constexpr void global_mean(const T* x, std::int64_t pixels, int c, std::int64_t element, T* y) {
  const T* image = x + element / c * pixels * c + element % c;
  float sum = 0;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) sum += to_float(image[pixel * c]);
  assign(y[element], sum / static_cast<float>(pixels));
}

template <class T>
OCTAVO_HD constexpr void global_mean_gradient(const T* dy, std::int64_t pixels, int c, std::int64_t element,
                                              T* dx) {
  const std::int64_t image = element / c / pixels;
  assign(dx[element], to_float(dy[image * c + element % c]) / static_cast<float>(pixels));
}

}  // namespace octavo::kernels::cuda
