// Ten training steps of a ResNet-8 against PyTorch in double precision: losses, every gradient, final weights
// and running statistics. The distances allowed are about four times those of PyTorch's own float32 run
// (tools/golden).
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

double worst_gradient(const Resnet8& golden, Program& program, const std::string& prefix) {
  double worst = 0;
  for (const ParameterData& data : program.parameters) {
    const double distance =
        golden::relative_distance(data.gradient.as<float>(), golden.fixture.at(prefix + data.name).values);
    if (distance > worst) UNSCOPED_INFO(prefix << data.name << " " << distance);
    worst = std::max(worst, distance);
  }
  return worst;
}

}  // namespace

TEST_CASE("ten FP32 steps of a ResNet-8 equal PyTorch in double precision") {
  const Resnet8 golden;
  const int threads = GENERATE(1, 2);
  Runtime runtime(threads, 1);
  Program program(build(resnet(1)), golden.types, runtime);
  golden.initialize(program);
  auto sgd = make_sgd(program);
  const auto& losses = golden.fixture.at("loss").values;
  for (std::size_t step = 0; step < losses.size(); ++step) {
    Plan& plan = program.plan(golden.types, Phase::train);
    program.forward(plan, golden.pointers);
    CHECK(program.loss(plan) == Approx(losses[step]).epsilon(1e-6));
    if (step == 0)
      CHECK(golden::relative_distance(program.output(plan, "logits").as<float>(),
                                      golden.fixture.at("logits0").values) < 8e-7);
    program.backward(plan, 1);
    if (step == 0) CHECK(worst_gradient(golden, program, "grad0/") < 4e-6);
    if (step == 9) CHECK(worst_gradient(golden, program, "grad9/") < 8e-6);
    update(program, *sgd, 0.05);
  }
  for (const ParameterData& data : program.parameters)
    CHECK(golden::relative_distance(data.value.as<float>(), golden.fixture.at("final/" + data.name).values) <
          1e-6);
  for (const StateData& state : program.states)
    CHECK(golden::relative_distance(state.value.as<float>(),
                                    golden.fixture.at("final/" + state.name).values) < 1e-6);
}
