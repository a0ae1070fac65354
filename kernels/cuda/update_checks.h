// What an update is refused for.
#pragma once

#include "fixed_point_rule.h"
#include "pointers.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

template <class Update>
std::string check_update(const char* name, const Update& u) {
  const std::string what = std::string("cuda/") + name + " of " + std::to_string(u.elements) + " values in " +
                           std::to_string(u.rows) + " rows: ";
  if (u.rows < 1 || u.columns < 1 || u.elements < 1 || u.elements % u.rows != 0 ||
      u.elements / u.rows % u.columns != 0)
    throw std::invalid_argument(what + "rows are whole, and of whole columns");
  check_pointer(u.value, "value", what, alignof(float));
  check_pointer(u.gradient, "gradient", what, alignof(float));
  check_pointer(u.rate_factor, "rate_factor", what, alignof(double));
  check_optional_pointer(u.row_max, "row_max", what, alignof(std::uint32_t));
  check_optional_pointer(u.column_max, "column_max", what, alignof(std::uint32_t));
  if (u.column_max != nullptr) check_pointer(u.row_factor, "row_factor", what, alignof(float));
  return what;
}

inline void check_pass(const SgdUpdate& u) {
  const std::string what = check_update("update_sgd", u);
  check_optional_pointer(u.velocity, "velocity", what, alignof(float));
  if (u.nesterov && u.velocity == nullptr)
    throw std::invalid_argument(what + "Nesterov momentum needs a velocity");
}

inline void check_pass(const FixedPointUpdate& u) {
  const std::string what = check_update("update_fixed_point", u);
  check_pointer(u.accumulator, "accumulator", what, alignof(std::int32_t));
  check_pointer(u.random.counter, "counter", what, alignof(StepCounter));
  if (!u.is_norm_or_bias) check_pointer(u.range, "range", what, alignof(std::uint32_t));
}

}  // namespace octavo::kernels::cuda
