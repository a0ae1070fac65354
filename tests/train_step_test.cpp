// Properties of whole training steps of the ResNet-8: fusion changes nothing, and an all-integer run gives
// the same weights on every instruction set and for every number of threads.
#include <cmath>

#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

constexpr int steps = 10;

struct Trace {
  std::vector<float> losses, gradients, weights;  // gradients of step 0
};

// `products`: which of forward, grad_input, grad_weight run in integers.
std::vector<float> first_gradients(std::array<bool, 3> products) {
  const Resnet8 golden;
  Runtime runtime(2, 1);
  Program program(build(resnet(1)), golden.types, runtime);
  golden.initialize(program);
  set_formats(program, true);
  for (Layer& layer : program.layers) {
    layer.formats.forward.integer = products[0];
    layer.formats.grad_input.integer = products[1];
    layer.formats.grad_weight.integer = products[2];
  }
  run_pass(program, golden.types, golden.pointers);
  return all_gradients(program);
}

Trace train(bool integer, bool fusion, int threads, RoundingMode rounding = RoundingMode::stochastic) {
  static const Resnet8 golden;
  Runtime runtime(threads, 1);
  Program program(build(resnet(1)), golden.types, runtime);
  golden.initialize(program);
  set_formats(program, integer, rounding);
  program.fusion = fusion;
  auto sgd = make_sgd(program);
  Trace trace;
  for (int step = 0; step < steps; ++step) {
    trace.losses.push_back(run_pass(program, golden.types, golden.pointers));
    if (step == 0) trace.gradients = all_gradients(program);
    update(program, *sgd, 0.05);
  }
  if (integer)
    for (std::size_t p = 0; p < 3; ++p) CHECK(runtime.macs.integer[p] == runtime.macs.all[p]);
  trace.weights = all_weights(program);
  return trace;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double(a[i]) * b[i];
    aa += double(a[i]) * a[i];
    bb += double(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("fusion changes neither losses nor gradients") {
  const bool integer = GENERATE(false, true);
  const Trace fused = train(integer, true, 2), single = train(integer, false, 2);
  CHECK(fused.losses == single.losses);
  CHECK(fused.gradients == single.gradients);
  CHECK(fused.weights == single.weights);
}

TEST_CASE("an all-integer run gives the same weights for any number of threads") {
  const Trace one = train(true, true, 1);
  for (int threads : {2, 3, 7}) {
    CAPTURE(threads);
    CHECK(train(true, true, threads).weights == one.weights);
  }
}

TEST_CASE("an all-integer run gives the same weights on every instruction set") {
  const kernels::Isa before = kernels::active_isa();
  kernels::force_isa(kernels::Isa::ref);
  const Trace reference = train(true, true, 2);
  for (kernels::Isa isa : {kernels::Isa::avx2, kernels::Isa::avx512vnni}) {
    if (!kernels::isa_supported(isa)) {
      WARN("this CPU lacks " << kernels::isa_name(isa) << ": not tested");
      continue;
    }
    CAPTURE(kernels::isa_name(isa));
    kernels::force_isa(isa);
    const Trace trace = train(true, true, 2);
    CHECK(trace.losses == reference.losses);
    CHECK(trace.weights == reference.weights);
  }
  kernels::force_isa(before);
}

// Rounding in the forward pass flips ReLU masks, which every layer below then sees: the whole network's
// gradient turns by more than that of any one product.
TEST_CASE("INT8 gradients point where FP32 gradients point") {
  const std::vector<float> real = first_gradients({false, false, false});
  CHECK(cosine(first_gradients({false, true, false}), real) > 0.999);
  CHECK(cosine(first_gradients({false, false, true}), real) > 0.995);
  CHECK(cosine(first_gradients({true, false, false}), real) > 0.97);
  CHECK(cosine(first_gradients({true, true, true}), real) > 0.97);
}

TEST_CASE("INT8 training stays close to FP32") {
  const RoundingMode rounding = GENERATE(RoundingMode::nearest_even, RoundingMode::stochastic);
  const Trace integer = train(true, true, 2, rounding), real = train(false, true, 2);
  for (std::size_t i = 0; i < real.losses.size(); ++i) {
    CAPTURE(i, integer.losses[i], real.losses[i]);
    CHECK(std::fabs(integer.losses[i] - real.losses[i]) < 0.05 * real.losses[0]);
  }
}
