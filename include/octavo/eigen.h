// Tensors as Eigen maps, without a copy. Include it where Eigen is at hand; octavo's other headers do not
// need it.
#pragma once

#include <Eigen/Core>

#include "octavo/tensor.h"

namespace octavo {

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The elements as a matrix [all but the last axis, last axis]; Errc::internal when T is not the element
/// type.
template <class T>
Eigen::Map<RowMajor<T>> as_matrix(Tensor& tensor) {
  auto values = tensor.as<T>();
  const Eigen::Index columns = tensor.shape().rank() == 0 ? 1 : tensor.shape().back();
  return {values.data(), columns == 0 ? 0 : static_cast<Eigen::Index>(values.size()) / columns, columns};
}

}  // namespace octavo
