// Max pooling with this instruction set's vectors.
#include "max_pool_rows.h"

namespace octavo::kernels {

extern const MaxPoolIsa max_pool_isa_avx512vnni;
const MaxPoolIsa max_pool_isa_avx512vnni = {forward_of_type, backward_of_type};

}  // namespace octavo::kernels
