// The integer convolution with vpdpbusd.
#include "avx512vnni/conv_s8.h"

namespace octavo::kernels {

extern const ConvIsa conv_isa_avx512vnni;
const ConvIsa conv_isa_avx512vnni = {{14, 14},
                                     {&narrow_tiles_avx512vnni, &wide_tiles_avx512vnni, &tiles_24_avx512vnni},
                                     {&narrow_tiles_avx512bf16, &wide_tiles_avx512bf16, &tiles_24_avx512bf16},
                                     finish_rows_avx512vnni,
                                     add_sums_avx512vnni,
                                     finish_columns_avx512vnni,
                                     column_sums_avx512vnni,
                                     pack_rows_avx512vnni,
                                     pack_columns_avx512vnni,
                                     &outer_tiles_avx512vnni};

}  // namespace octavo::kernels
