// One check for every op: the real node in a real program against an independent reference in double.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support/golden.h"

namespace octavo::test {

using golden::Array;

/// One op in numbers. The reference sees inputs, then parameters, and returns the values of output 0.
struct OpCase {
  std::string node;                               ///< "conv2d {out: 4, kernel: 3}"
  std::vector<std::vector<std::int64_t>> shapes;  ///< of the f32 inputs
  std::function<std::vector<double>(const std::vector<Array>&)> reference;
  std::int64_t terms = 1;            ///< terms of the longest sum behind one result: what sets the tolerance
  bool linear = true;                ///< in each operand: central differences are exact
  std::vector<std::int64_t> labels;  ///< a further i64 input behind the f32 ones
  /// Value of element `index` of operand `number`; keeps away from kinks where the op has some.
  std::function<double(int number, std::int64_t index)> value;
  std::string refs;  ///< inputs by name, "x0,x0"; empty: "x0,x1,..."
};

/// Forward, gradients of all inputs and parameters against central differences of the reference, two
/// micro-steps that add up, a further step that starts anew, and 1 against 3 threads bit for bit.
void check_op(const OpCase& op);

/// |found - expected| <= tolerance for all elements.
void check_close(const std::string& what, const std::vector<float>& found,
                 const std::vector<double>& expected, double tolerance);

/// Rounding of a sum of `terms` products in float, for results of the size of the largest expected value.
double float_tolerance(const std::vector<double>& expected, std::int64_t terms);

}  // namespace octavo::test
