// grad_weight over few pixels, a linear layer at a small batch: next to nothing is summed, and the time is
// that of writing dW. Rows are output channels here and columns input channels, as they lie in dW.
#pragma once

#include "conv_s8_tiled.h"

namespace octavo::kernels {

/// out[i][j] = float(start[i] + sum over q, e of g[i][q][e] * x[q][j][e]) * (a_scale[j] * b_scale[i])
/// [+ out[i][j]] for `columns` <= 32 columns; the sum modulo 2^32.
struct ConvOuter {
  const std::int8_t* g;   // [rows][steps][4]
  const std::uint8_t* x;  // [steps][32][4]
  std::int64_t steps, columns;
  const std::int32_t* start;
  const float* a_scale;  // per column when a_scale_vector
  const float* b_scale;  // per row when b_scale_vector
  bool a_scale_vector, b_scale_vector;
  float* out;
  std::int64_t out_pitch;
  bool accumulate;
  bool stream;  // may write around the caches; only without accumulate
};

/// Whether there are tiles for this instruction set and the sizes are such.
bool is_outer(const ConvIsa& isa, const ConvShape& shape, const View& b);
/// `general` takes what is rare: planes, sample classes other than 0, and integers as the result.
std::unique_ptr<ConvS8> make_outer(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b,
                                   std::unique_ptr<ConvS8> general);

}  // namespace octavo::kernels
