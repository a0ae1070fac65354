// Times one integer product in one kernel of the list.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/thread_pool.h"
#include "kernels.h"

namespace octavo {

struct ConvTiming {
  double budget = 0.15;  // seconds of measuring
  int a_planes = 1, b_planes = 1;
  std::vector<std::uint8_t> classes;                     // of the samples in grad_weight; empty: none
  kernels::FloatType results = kernels::FloatType::f32;  // of forward and grad_input
};

/// Classes as late in training: the largest gradient of a sample is 0 to 6 octaves below that of the batch.
std::vector<std::uint8_t> draw_sample_classes(std::int64_t samples, bool half_octaves);

struct ConvSeconds {
  double run = 0, pack = 0;
  std::int64_t read = 0, written = 0;  // bytes of operands, each row that is needed once, and of the result
};

/// Shortest run, and shortest packing of the weights, on operands of random bytes: the speed does not depend
/// on the values.
ConvSeconds time_conv_s8(const kernels::ConvS8Candidate& candidate, const kernels::ConvShape& shape,
                         kernels::Product product, ThreadPool& pool, const ConvTiming& timing);

/// Aligned memory of random bytes.
struct RandomBytes {
  explicit RandomBytes(std::int64_t bytes);
  struct Free {
    void operator()(void* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<std::uint8_t, Free> data;
};

}  // namespace octavo
