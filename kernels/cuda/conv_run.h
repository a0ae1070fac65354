// The arguments of the kernels of a convolution beside its sizes.
#pragma once

#include "epilogue.h"
#include "result_sums.h"
#include "sample_order.h"

namespace octavo::kernels::cuda {

/// What a launch reads and writes; pointers of the device.
struct ConvRun {
  const std::int8_t* a = nullptr;
  const std::int8_t* b = nullptr;
  std::int64_t a_plane = 0, b_plane = 0;  // bytes from plane to plane
  int b_planes = 1;
  const SampleOrder* order = nullptr;  // null: no sample classes
  std::int32_t* parts = nullptr;       // null: there is one part, and the epilogue stores results
  Epilogue epilogue;
  ResultSums sums;  // beside results that the epilogue stores
};

}  // namespace octavo::kernels::cuda
