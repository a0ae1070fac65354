// What an update tells of the weights that it leaves, so that no pass has to look for it.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo {

/// Bits of largest magnitudes; a NaN is above all numbers. Empty: not known.
struct ParameterMaxima {
  std::vector<std::uint32_t> rows;     ///< |w| of each index of the first dimension; a vector is one row
  std::vector<std::uint32_t> columns;  ///< |w factor[row]| of each index of the last
};

}  // namespace octavo
