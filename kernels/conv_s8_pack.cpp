// Packing of the weights of the tiled integer convolution in plain loops, for instruction sets without their
// own.
#include <algorithm>
#include <cstring>

#include "conv_s8_tiled.h"

namespace octavo::kernels {

/// 64 inputs at a time stay in the L1 cache.
void pack_rows_plain(const ConvPack& args) {
  for (std::int64_t first = 0; first < args.inputs; first += 64)
    for (std::int64_t j = 0; j < args.columns; ++j) {
      const std::int64_t count = std::min<std::int64_t>(64, args.inputs - first);
      const std::int8_t* from = args.source + j * args.row + first;
      std::int8_t* to = args.target + first / 4 * args.step + j * 4;
      std::int32_t sum = 0;
      for (std::int64_t c = 0; c < count; ++c) sum += from[c];
      args.sums[j] += sum;
      for (std::int64_t c = 0; c + 4 <= count; c += 4, to += args.step) std::memcpy(to, from + c, 4);
      if (count % 4) std::memcpy(to, from + count / 4 * 4, static_cast<std::size_t>(count % 4));
    }
}

void pack_columns_plain(const ConvPack& args) {
  std::int8_t* target = args.target;
  std::int64_t input = 0;
  for (; input + 4 <= args.inputs; input += 4, target += args.step) {
    const std::int8_t *a = args.source + input * args.row, *b = a + args.row, *c = b + args.row,
                      *d = c + args.row;
    for (std::int64_t j = 0; j < args.columns; ++j) {
      target[j * 4] = a[j];
      target[j * 4 + 1] = b[j];
      target[j * 4 + 2] = c[j];
      target[j * 4 + 3] = d[j];
    }
    for (std::int64_t j = 0; j < args.columns; ++j) args.sums[j] += a[j] + b[j] + c[j] + d[j];
  }
  for (std::int64_t e = 0; input < args.inputs; ++input, ++e)
    for (std::int64_t j = 0; j < args.columns; ++j)
      args.sums[j] += target[j * 4 + e] = args.source[input * args.row + j];
}

}  // namespace octavo::kernels
