// What all nodes of a run share: threads, scratch memory, the position in training, counters.
#pragma once

#include <array>
#include <cstdint>

#include "core/stream.h"
#include "core/thread_pool.h"
#include "exec/node_memory.h"
#include "kernels.h"
#include "octavo/op.h"
#include "octavo/tensor.h"

namespace octavo {

/// Multiply-accumulates of the products that ran, by LayerProduct.
struct MacCount {
  std::array<std::int64_t, 3> integer{}, all{};
};

/// Seconds of all steps that no node of a plan spent.
struct OutsideSeconds {
  double loader = 0;      // waiting for the batch
  double weights = 0;     // integer copies and packing of the weights
  double update = 0;      // gradient norm and optimizer
  double controller = 0;  // the precision policy between steps
};

class Runtime {
 public:
  Runtime(int threads, std::uint64_t run_seed)
      : pool(threads),
        parallel([this](std::int64_t chunks, const auto& body) { pool.run(chunks, body); }),
        seed(run_seed) {}

  /// At least `bytes` of memory, valid until the next call; grows in the first step only.
  void* scratch(std::int64_t bytes) {
    if (!scratch_ || scratch_.bytes() < bytes) scratch_ = Tensor::empty({bytes}, DType::u8);
    return scratch_.data();
  }

  /// A second one, for a float tensor that only statistics need.
  float* statistics_buffer(std::int64_t elements) {
    if (!statistics_ || statistics_.elements() < elements) statistics_ = Tensor::empty({elements});
    return statistics_.as<float>().data();
  }

  /// A third, for integers that are packed next.
  std::int8_t* integers(std::int64_t bytes) {
    if (!integers_ || integers_.bytes() < bytes) integers_ = Tensor::empty({bytes}, DType::s8);
    return integers_.as<std::int8_t>().data();
  }

  NodeMemory memory;  ///< of the node that runs: cleared before each
  ThreadPool pool;
  kernels::Parallel parallel;
  std::uint64_t seed;
  std::int64_t step = 0;
  std::int64_t micro_step = 0, micro_steps = 1;  // gradient accumulation
  MacCount macs;
  double precision_seconds = 0;  // all steps: passes that only look at values, searches, decisions
  OutsideSeconds outside;

  /// Key of the random stream `stream` (a slot or a node) in this step; draws go by the element's index in
  /// the global batch, of which a micro-step of `elements` is one part.
  kernels::RandomKey random(std::uint64_t stream) const {
    return kernels::random_key(seed, static_cast<std::uint64_t>(step), stream);
  }
  std::uint64_t first_index(std::int64_t elements) const {
    return static_cast<std::uint64_t>(micro_step * elements);
  }

 private:
  Tensor scratch_, statistics_, integers_;
};

}  // namespace octavo
