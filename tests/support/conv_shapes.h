// Shapes for the tests of integer convolutions, and memory that shows every byte read or written beyond its
// end.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "kernels.h"

namespace octavo::kernels::test {

/// Aligned memory of exactly the promised size, so that a sanitizer sees every byte beyond it; filled with a
/// byte that is no valid default.
class Buffer {
 public:
  explicit Buffer(std::int64_t bytes) {
    const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
    if (posix_memalign(&data_, 64, size) != 0) throw std::bad_alloc();
    std::memset(data_, 0x5b, size);
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() { return data_; }

 private:
  void* data_ = nullptr;
};

inline ConvShape conv(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t k,
                      std::int64_t r, std::int64_t s, std::int64_t stride = 1, std::int64_t pad = 0,
                      std::int64_t dilation = 1, std::int64_t groups = 1) {
  ConvShape shape{.n = n, .h = h, .w = w, .c = c, .k = k, .r = r, .s = s};
  shape.stride_h = shape.stride_w = stride;
  shape.pad_h = shape.pad_w = pad;
  shape.dilation_h = shape.dilation_w = dilation;
  shape.groups = groups;
  shape.ho = (h + 2 * pad - (r - 1) * dilation - 1) / stride + 1;
  shape.wo = (w + 2 * pad - (s - 1) * dilation - 1) / stride + 1;
  return shape;
}

inline ConvShape linear(std::int64_t rows, std::int64_t c, std::int64_t k) {
  return conv(1, 1, rows, c, k, 1, 1);
}

inline ConvShape uneven(std::int64_t c = 12) {  // every pair of sizes differs
  ConvShape shape = conv(2, 11, 8, c, 20, 3, 5);
  shape.stride_h = 2, shape.stride_w = 3, shape.pad_h = 1, shape.pad_w = 2, shape.dilation_h = 2;
  shape.ho = (11 + 2 - 4 - 1) / 2 + 1;
  shape.wo = (8 + 4 - 4 - 1) / 3 + 1;
  return shape;
}

inline std::vector<ConvShape> shapes() {
  return {
      conv(1, 5, 7, 4, 16, 3, 3, 1, 1), conv(5, 8, 8, 16, 16, 3, 3, 1, 1), conv(2, 9, 9, 32, 32, 3, 3, 1, 1),
      conv(1, 6, 6, 64, 48, 3, 3, 1, 1), conv(2, 9, 8, 16, 32, 3, 3, 2, 1), conv(5, 7, 7, 12, 40, 3, 3, 2, 1),
      conv(2, 14, 14, 3, 16, 7, 7, 2, 3), conv(1, 9, 9, 3, 24, 7, 7, 1, 3), conv(2, 6, 6, 32, 64, 1, 1),
      conv(2, 7, 5, 24, 10, 1, 1, 2), conv(1, 8, 8, 5, 7, 5, 5, 1, 2), conv(5, 9, 7, 6, 33, 5, 5, 2, 2),
      conv(1, 11, 11, 8, 16, 3, 3, 1, 2, 2), conv(2, 10, 11, 20, 17, 3, 3, 2, 2, 2),
      conv(2, 8, 8, 16, 32, 3, 3, 1, 1, 1, 2), conv(1, 9, 9, 24, 40, 3, 3, 2, 1, 1, 2),
      conv(1, 6, 6, 6, 10, 3, 3, 1, 1, 1, 2), conv(1, 7, 7, 32, 64, 3, 3, 1, 1, 1, 4),
      conv(2, 9, 9, 16, 16, 3, 3, 1, 1, 1, 16), conv(2, 9, 8, 24, 24, 3, 3, 2, 1, 1, 24),
      conv(1, 8, 8, 37, 37, 5, 5, 1, 2, 1, 37), conv(1, 9, 7, 40, 40, 3, 3, 1, 2, 2, 40),
      conv(1, 1, 1, 8, 16, 3, 3, 1, 1), conv(1, 2, 1, 4, 4, 3, 3, 2, 1), conv(5, 1, 1, 1, 1, 1, 1),
      conv(1, 4, 4, 2, 130, 3, 3, 1, 0), conv(3, 4, 4, 130, 6, 2, 2, 2, 0), conv(1, 12, 12, 4, 8, 3, 3, 4, 0),
      // Weight gradients whose rows have no border (grad_weight_taps.h) need 28 channels.
      conv(5, 7, 7, 28, 20, 3, 3, 1, 1), conv(3, 14, 14, 30, 18, 3, 3, 2, 1),
      conv(2, 7, 9, 32, 40, 5, 5, 2, 2), conv(2, 11, 6, 29, 17, 3, 3, 1, 2, 2),
      conv(2, 5, 5, 28, 8, 5, 5, 1, 4), conv(1, 4, 6, 64, 66, 3, 3, 1, 1, 1, 2), uneven(31),
      linear(1, 40, 10), linear(20, 65, 100), linear(37, 128, 64), uneven()};
}

/// Panels of 32 columns of which 17 to 24 are there: tiles of all rows, whole and in part, and the last of
/// several panels or groups.
inline std::vector<ConvShape> three_quarter_panels() {
  std::vector<ConvShape> all = {conv(2, 14, 28, 96, 24, 1, 1),
                                conv(1, 13, 26, 24, 24, 3, 3, 1, 1),
                                conv(3, 13, 13, 17, 23, 3, 3, 2, 1),
                                conv(2, 14, 14, 56, 56, 3, 3, 1, 1),
                                conv(5, 14, 14, 48, 48, 3, 3, 1, 1, 1, 2),
                                conv(3, 14, 14, 40, 34, 3, 3, 1, 1, 1, 2),
                                conv(3, 28, 14, 24, 13, 1, 1)};
  for (std::int64_t rows = 1; rows <= 14; ++rows) {
    all.push_back(linear(rows, 24 - rows % 8, 24 - rows % 7));
    all.push_back(conv(3, 7, 9, rows, rows % 3 == 0 ? 56 : 24 - rows % 5, 1, 1));
  }
  return all;
}

inline std::string describe(const ConvShape& s) {
  std::ostringstream text;
  text << "n" << s.n << " " << s.h << "x" << s.w << "x" << s.c << " -> " << s.ho << "x" << s.wo << "x" << s.k
       << ", " << s.r << "x" << s.s << " stride " << s.stride_h << "," << s.stride_w << " pad " << s.pad_h
       << "," << s.pad_w << " dilation " << s.dilation_h << " groups " << s.groups;
  return text.str();
}

inline std::int64_t x_elements(const ConvShape& s) { return s.n * s.h * s.w * s.c; }
inline std::int64_t y_elements(const ConvShape& s) { return s.n * s.ho * s.wo * s.k; }
inline std::int64_t w_elements(const ConvShape& s) { return s.k * s.r * s.s * (s.c / s.groups); }

}  // namespace octavo::kernels::test
