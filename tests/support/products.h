// The index arithmetic of a convolution, written once more in plain loops: what all references of products
// share.
#pragma once

#include "kernels.h"

namespace octavo::test {

/// visit(x index, w index, y index) for every multiplication of an NHWC / KRSC convolution.
template <class Visit>
void for_each_product(const kernels::ConvShape& p, const Visit& visit) {
  const std::int64_t per_group = p.c / p.groups, filters = p.k / p.groups;
  for (std::int64_t out = 0; out < p.n * p.ho * p.wo * p.k; ++out) {
    const std::int64_t k = out % p.k, j = out / p.k % p.wo, i = out / p.k / p.wo % p.ho,
                       n = out / p.k / p.wo / p.ho;
    for (std::int64_t tap = 0; tap < p.r * p.s * per_group; ++tap) {
      const std::int64_t channel = tap % per_group, s = tap / per_group % p.s, r = tap / per_group / p.s;
      const std::int64_t row = i * p.stride_h - p.pad_h + r * p.dilation_h;
      const std::int64_t column = j * p.stride_w - p.pad_w + s * p.dilation_w;
      if (row < 0 || row >= p.h || column < 0 || column >= p.w) continue;
      visit(((n * p.h + row) * p.w + column) * p.c + k / filters * per_group + channel,
            k * p.r * p.s * per_group + tap, out);
    }
  }
}

}  // namespace octavo::test
