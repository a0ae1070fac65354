// What an update is refused for.
#pragma once

#include "pointers.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

template <class Update>
std::string check_update(const char* name, const Update& u, const StepScalars* step) {
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
  check_pointer(step, "step", what, alignof(StepScalars));
  return what;
}

}  // namespace octavo::kernels::cuda
