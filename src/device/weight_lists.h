// Integer copies of a plan's weights, all of them or those of one product: lists that lie on the device.
#pragma once

#include "cuda/weights.h"
#include "device/device_list.h"
#include "device/plan_weights.h"

namespace octavo::device {

class Parameters;
struct Run;

class WeightLists {
 public:
  WeightLists() = default;
  WeightLists(Memory& memory, const Program& program, const Parameters& parameters,
              std::span<const WeightMemory* const> copies);
  /// Copies of the parameters as they are: squeezed ones first, then ranges, scales and integers.
  void quantize(Run& run) const;

 private:
  std::vector<const WeightMemory*> copies_, squeezed_;  // squeezed: one of each parameter
  DeviceList<kernels::cuda::WeightScales> scales_;
  DeviceList<kernels::cuda::QuantizeWeights> passes_;
};

}  // namespace octavo::device
