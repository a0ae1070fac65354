#include "device/batch_feed.h"

#include <cstring>

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

BatchFeed::BatchFeed(Memory& memory, Plan& plan) {
  for (const ValueId id : plan.graph.inputs) {
    const Value& value = plan.graph.value(id);
    inputs_.push_back({value.name, id, value.type.bytes(), nullptr, nullptr});
  }
  Region size;
  for (const Input& input : inputs_) size.take<std::byte>(input.bytes);
  block_ = Block(memory, "batches", size.used());
  staged_ = Mirror(memory, "batches", size.used());
  Region data(block_.data()), staged = staged_.region();
  for (Input& input : inputs_) {
    input.data = data.take<std::byte>(input.bytes);
    input.staged = staged.take<std::byte>(input.bytes);
    plan.external[static_cast<std::size_t>(input.value)] = input.data;
  }
}

BatchFeed::~BatchFeed() { static_cast<void>(cudaDeviceSynchronize()); }

// The pinned memory is free once the copy before has ended.
void BatchFeed::stage(const Batch& batch, CopyStream& copies) {
  check(cudaEventSynchronize(copies.copied), "a batch");
  for (const Input& input : inputs_)
    std::memcpy(staged_.host(input.staged), batch[input.name].data(), static_cast<std::size_t>(input.bytes));
  check(cudaStreamWaitEvent(copies.stream, copies.taken, 0), "a batch");
  staged_.to_device(copies.stream);
  check(cudaEventRecord(copies.copied, copies.stream), "a batch");
  position_ = batch.position;
}

void BatchFeed::put(const Batch& batch, CopyStream& copies, cudaStream_t steps) {
  if (position_ != batch.position) stage(batch, copies);
  check(cudaStreamWaitEvent(steps, copies.copied, 0), "a batch");
  check(cudaMemcpyAsync(block_.data(), staged_.data(), static_cast<std::size_t>(block_.bytes()),
                        cudaMemcpyDeviceToDevice, steps),
        "a batch");
  check(cudaEventRecord(copies.taken, steps), "a batch");
  position_ = {-1, -1};
}

void BatchFeed::prefetch(const Batch& batch, CopyStream& copies) {
  for (const Input& input : inputs_)
    if (batch[input.name].bytes() != input.bytes) return;
  stage(batch, copies);
}

}  // namespace octavo::device
