// Max pooling with the vectors that every CPU has, and the choice of an instruction set.
#include "max_pool_rows.h"

namespace octavo::kernels {

extern const MaxPoolIsa max_pool_isa_avx512vnni, max_pool_isa_avx2;

const MaxPoolIsa& max_pool_isa() {
  static constexpr MaxPoolIsa ref = {forward_of_type, backward_of_type};
  switch (active_isa()) {
    case Isa::avx512vnni:
      return max_pool_isa_avx512vnni;
    case Isa::avx2:
      return max_pool_isa_avx2;
    case Isa::ref:
      break;
  }
  return ref;
}

}  // namespace octavo::kernels
