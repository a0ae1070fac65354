// Ops that only tests need, registered as an application would: a trainable offset, which makes the gradient
// of any value visible, and a weighted sum, which sends a chosen gradient into the op before it.
#pragma once

namespace octavo::test {

/// Registers both once per process.
///   test_offset x             -> x + offset; parameter "offset" of x's shape, 0 at the start
///   test_weighted_sum y,up    -> [] sum(y up): a loss whose gradient is `up`
void register_test_ops();

}  // namespace octavo::test
