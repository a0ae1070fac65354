// Slots of one plan on the device: what the host sets before a step, the scales that the step makes, and what
// it counted.
#pragma once

#include <map>
#include <vector>

#include "cuda/chain.h"
#include "cuda/quantize.h"
#include "device/memory.h"
#include "exec/program.h"

namespace octavo::device {

/// Where the ranges of a pass come from: the host, before the step, or maxima that the step takes.
enum class Ranges : std::uint8_t { given, maxima };

/// Pointers of the device; null where a slot has no use for them.
struct SlotMemory {
  int index = 0;                                         // in the program's table
  std::int64_t samples = 1, channels = 1, elements = 0;  // of the edge; elements of one micro-step
  std::int64_t ranges_count = 1;                         // scales
  std::int64_t places = 0;       // sample classes: of the batch copies, before classes are known
  int passes = 0;                // of a micro-step that count
  bool each_micro_step = false;  // weights: quantized anew in each

  // Set by the host before a step.
  Ranges source = Ranges::maxima;
  float *ranges = nullptr, *cap = nullptr;
  float *factor = nullptr, *inverse_factor = nullptr;  // of channels

  float *scale = nullptr, *inverse = nullptr;
  std::uint32_t* max_bits = nullptr;  // as many as scales
  bool maxima_fresh = false;          // they are zeros, as the step begins
  std::uint8_t* sample_class = nullptr;
  float *class_scale = nullptr, *channel_scale = nullptr;
  kernels::cuda::SampleOrder* order = nullptr;
  std::int32_t* entries = nullptr;
  const kernels::cuda::Draws* draws = nullptr;

  // Read by the host after each micro-step.
  kernels::cuda::QuantizeCounts* counts = nullptr;
  std::uint32_t* largest = nullptr;      // bits of the largest range that a scale covered
  std::uint32_t* channel_max = nullptr;  // channel granularity of activations and gradients
};

}  // namespace octavo::device
