// The way of batches to the device: pinned memory, a copy while the step before computes, inputs of a plan.
#pragma once

#include <string>
#include <vector>

#include "data/loader.h"
#include "device/mirror.h"
#include "exec/plan.h"

namespace octavo::device {

/// A stream for copies, and what orders it beside the stream of steps.
class CopyStream {
 public:
  CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;
  ~CopyStream();

  cudaStream_t stream = nullptr;
  cudaEvent_t copied = nullptr;  // the staged batch is on the device
  cudaEvent_t taken = nullptr;   // and in the inputs, so that the next one may follow
};

/// The inputs of one plan. Raw images are normalized on the device.
class BatchFeed {
 public:
  BatchFeed(Memory& memory, Plan& plan);
  BatchFeed(const BatchFeed&) = delete;
  BatchFeed& operator=(const BatchFeed&) = delete;
  ~BatchFeed();  // waits for a copy under way

  /// Puts the batch into the inputs, on `steps`; copies it first unless prefetch() has.
  void put(const Batch& batch, CopyStream& copies, cudaStream_t steps);
  /// Begins to copy the next batch while `steps` computes; a batch of another size is left to put().
  void prefetch(const Batch& batch, CopyStream& copies);

 private:
  struct Input {
    std::string name;
    std::int64_t bytes;
    std::byte* data;
    std::int64_t staged_bytes = 0;  // a raw image has a byte for each float
    std::byte* staged = nullptr;
  };
  void lay_out(const Batch& batch);
  void stage(const Batch& batch, CopyStream& copies);
  void take(const Input& input, bool raw, cudaStream_t steps) const;

  Memory& memory_;
  std::vector<Input> inputs_;
  int channels_ = 0;  // of raw images
  float *scale_ = nullptr, *shift_ = nullptr;
  Block block_;
  Mirror staged_;
  LoaderCursor position_{-1, -1};  // of the staged batch
};

}  // namespace octavo::device
