// Once a plan has run, its passes and the update take nothing from the heap. Layers in FP32 are left out:
// oneDNN allocates as it likes.
#include <atomic>
#include <cstdlib>
#include <new>

#include "optim/gradient_norm.h"
#include "optim/segment_update.h"
#include "support/precision.h"
#include "support/resnet8.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
  if (counting) ++allocations;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace octavo;
using namespace octavo::test;

namespace {

template <class Work>
long counted(const Work& work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

// Biases, pools, dropout: what the ResNet has not.
const char* plain_model =
    "input image\ninput label\n"
    "a conv2d image {out: 8, kernel: 3, pad: 1, bias: true}\nr relu a\n"
    "p max_pool r {kernel: 3, stride: 2, pad: 1}\nb conv2d p {out: 8, kernel: 3, pad: 1, groups: 8}\n"
    "n batch_norm b\ns relu n\nd dropout s {p: 0.5}\nc conv2d d {out: 8, kernel: 1}\n"
    "m avg_pool c {kernel: 2}\npool global_avg_pool m\nhead linear pool {out: 10}\n"
    "ce softmax_cross_entropy head,label\noutput logits head\nloss ce\n";

}  // namespace

TEST_CASE("the counter counts") {
  CHECK(counted([] { delete new int(1); }) == 1);
  CHECK(counted([] { std::vector<int>(100).swap(*std::make_unique<std::vector<int>>()); }) == 2);
}

TEST_CASE("passes and updates of a plan that has run before allocate nothing") {
  const std::string text = GENERATE(resnet(1), std::string(plain_model));
  const bool bf16 = GENERATE(false, true);
  const auto granularity =
      GENERATE(ScaleGranularity::tensor, ScaleGranularity::channel, ScaleGranularity::sample_class);
  const int bits = GENERATE(8, 16);
  const Resnet8 golden;
  Runtime runtime(2, 1);
  Program program(build(text), golden.types, runtime);
  set_formats(program, true, RoundingMode::stochastic);
  for (Layer& layer : program.layers) {
    layer.formats.grad_weight.other.granularity = granularity;
    if (granularity == ScaleGranularity::sample_class) {  // one copy of G, whose factors W takes over
      layer.formats.grad_weight.other.channel_factors = true;
      layer.formats.grad_input.data = layer.formats.grad_weight.other;
      layer.formats.grad_input.other.granularity = ScaleGranularity::channel;
      layer.formats.grad_input.fold_channels = true;
    }
    for (ProductFormat* format :
         {&layer.formats.forward, &layer.formats.grad_input, &layer.formats.grad_weight})
      format->data.bits = format->other.bits = bits;
  }
  program.bf16_edges = bf16;
  Plan& plan = program.plan(golden.types, Phase::train);
  const auto sgd = make_sgd(program);
  GradientNorm norm;
  std::vector<ParameterUpdate> updates;
  for (ParameterData& data : program.parameters)
    updates.push_back({.value = data.value.as<float>().data(),
                       .gradient = data.gradient.as<float>().data(),
                       .row_factor = program.factors_of_maxima(data),
                       .maxima = &data.maxima});
  const auto step = [&] {
    program.forward(plan, golden.pointers);
    program.backward(plan, 1);
    norm.begin();
    for (const ParameterData& data : program.parameters) norm.add(data.gradient.as<float>());
    norm.known_norm(runtime.parallel);
    program.weights_changed();
    sgd->step(updates, {0.05}, runtime.parallel);
    ++runtime.step;
  };
  for (int i = 0; i < 3; ++i) step();
  CAPTURE(text, bf16, static_cast<int>(granularity), bits);
  CHECK(counted(step) == 0);
}

TEST_CASE("updates that quantize and pack weights for the next step allocate nothing") {
  const auto granularity = GENERATE(ScaleGranularity::tensor, ScaleGranularity::channel);
  const Resnet8 golden;
  Runtime runtime(2, 1);
  Program program(build(resnet(1)), golden.types, runtime);
  set_formats(program, true, RoundingMode::stochastic);
  for (Layer& layer : program.layers)
    layer.formats.forward.other.granularity = layer.formats.grad_input.other.granularity = granularity;
  Plan& plan = program.plan(golden.types, Phase::train);
  const auto sgd = make_sgd(program);
  SegmentUpdate segments;
  std::vector<ParameterUpdate> updates(program.parameters.size());
  int packed = 0;
  const auto step = [&] {
    program.forward(plan, golden.pointers);
    program.backward(plan, 1);
    for (int i = 0; i < program.slots.size(); ++i) {
      Slot& slot = program.slots[i];
      if (slot.operand != Operand::weight) continue;
      slot.mode = ScaleMode::held;
      slot.clip = 1;
      slot.channel_clip.assign(granularity == ScaleGranularity::channel ? slot.scale.size() : 0, 1.0f);
    }
    for (std::size_t i = 0; i < updates.size(); ++i) {
      ParameterData& data = program.parameters[i];
      updates[i] = {.value = data.value.as<float>().data(),
                    .gradient = data.gradient.as<float>().data(),
                    .maxima = &data.maxima};
    }
    program.weights_changed();
    const UpdateStep now{0.05};
    sgd->begin_step(updates, now, runtime.parallel);
    packed = 0;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      updates[i].by_segments = program.packs_ahead(i, 1);
      if (!updates[i].by_segments) continue;
      ++packed;
      segments.begin(*sgd, i, updates[i], kernels::most_weight_chunks);
      const auto write = [&](std::int64_t chunk, std::int64_t begin, std::int64_t end, std::int64_t ahead) {
        segments.run(now, chunk, begin, end, ahead);
      };
      program.update_and_pack(i, write);
      segments.finish(runtime.parallel);
    }
    sgd->update_all(updates, now, runtime.parallel);
    ++runtime.step;
  };
  for (int i = 0; i < 3; ++i) step();
  CHECK(packed == std::ssize(plan.weight_readers));
  CHECK(counted(step) == 0);
}
