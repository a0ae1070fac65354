#include "device/batch_feed.h"

#include <algorithm>
#include <cstring>

#include "cuda/images.h"

namespace octavo::device {

CopyStream::CopyStream() {
  check(cudaStreamCreate(&stream), "a stream for copies");
  for (cudaEvent_t* event : {&copied, &taken})
    check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "an event");
}

CopyStream::~CopyStream() {
  for (const cudaEvent_t event : {copied, taken}) static_cast<void>(cudaEventDestroy(event));
  static_cast<void>(cudaStreamDestroy(stream));
}

BatchFeed::BatchFeed(Memory& memory, Plan& plan) : memory_(memory) {
  for (const ValueId id : plan.graph.inputs) {
    const Value& value = plan.graph.value(id);
    inputs_.push_back({value.name, value.type.bytes(), nullptr});
  }
  block_ = block_of(memory, "batches", [&](Region& region) {
    for (Input& input : inputs_) input.data = region.take<std::byte>(input.bytes);
  });
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    plan.external[static_cast<std::size_t>(plan.graph.inputs[i])] = inputs_[i].data;
}

BatchFeed::~BatchFeed() { static_cast<void>(cudaDeviceSynchronize()); }

// When the first batch says what it holds; all of a plan are alike.
void BatchFeed::lay_out(const Batch& batch) {
  if (scale_ != nullptr) return;
  channels_ = static_cast<int>(batch.scale.size());
  staged_ = mirror_of(memory_, "batches", [&](Region& region) {
    for (Input& input : inputs_) {
      input.staged_bytes = batch[input.name].bytes();
      input.staged = region.take<std::byte>(input.staged_bytes);
    }
    scale_ = region.take<float>(channels_ + 1), shift_ = region.take<float>(channels_ + 1);
  });
}

// The pinned memory is free once the copy before has ended.
void BatchFeed::stage(const Batch& batch, CopyStream& copies) {
  lay_out(batch);
  check(cudaEventSynchronize(copies.copied), "a batch");
  for (const Input& input : inputs_)
    std::memcpy(staged_.host(input.staged), batch[input.name].data(),
                static_cast<std::size_t>(input.staged_bytes));
  std::copy(batch.scale.begin(), batch.scale.end(), staged_.host(scale_));
  std::copy(batch.shift.begin(), batch.shift.end(), staged_.host(shift_));
  check(cudaStreamWaitEvent(copies.stream, copies.taken, 0), "a batch");
  staged_.to_device(copies.stream);
  check(cudaEventRecord(copies.copied, copies.stream), "a batch");
  position_ = batch.position;
}

void BatchFeed::take(const Input& input, bool raw, cudaStream_t steps) const {
  if (raw)
    return kernels::cuda::normalize_images(
        {input.staged_bytes, channels_, reinterpret_cast<const std::uint8_t*>(input.staged), scale_, shift_,
         reinterpret_cast<float*>(input.data)},
        steps);
  check(cudaMemcpyAsync(input.data, input.staged, static_cast<std::size_t>(input.bytes),
                        cudaMemcpyDeviceToDevice, steps),
        "a batch");
}

void BatchFeed::put(const Batch& batch, CopyStream& copies, cudaStream_t steps) {
  if (position_ != batch.position) stage(batch, copies);
  check(cudaStreamWaitEvent(steps, copies.copied, 0), "a batch");
  for (const Input& input : inputs_) take(input, batch.is_raw(input.name), steps);
  check(cudaEventRecord(copies.taken, steps), "a batch");
  position_ = {-1, -1};
}

void BatchFeed::prefetch(const Batch& batch, CopyStream& copies) {
  for (const Input& input : inputs_)
    if (batch[input.name].bytes() != input.staged_bytes) return;
  stage(batch, copies);
}

}  // namespace octavo::device
