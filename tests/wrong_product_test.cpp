// Training tells right from wrong: a small problem is learned with the three integer products as they are,
// and is not when any one of them is zeroed, four times too large, or has the wrong sign.
#include "octavo/error.h"
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

// 24 random images with random labels through a narrow layer: the last layer alone cannot learn them by
// heart. The learning rate is half of what still converges, so that gradients of four times the size diverge.
constexpr double rate = 0.15;
constexpr int steps = 150;
const char* model =
    "input image\ninput label\na conv2d image {out: 24, kernel: 3, pad: 1, bias: true}\nra relu a\n"
    "b conv2d ra {out: 6, kernel: 4}\nrb relu b\nflat flatten rb\nhead linear flat {out: 4}\n"
    "ce softmax_cross_entropy head,label\nloss ce\n";

struct Problem {
  Tensor image = Tensor::empty({24, 4, 4, 3}), label = Tensor::empty({24}, DType::i64);
  BatchTypes types{{"image", image.type()}, {"label", label.type()}};
  BatchPointers pointers{{"image", image.data()}, {"label", label.data()}};

  Problem() {
    for (std::size_t i = 0; i < image.as<float>().size(); ++i)
      image.as<float>()[i] = static_cast<float>(golden::formula(3, i, 3));
    for (std::size_t i = 0; i < 24; ++i)
      label.as<std::int64_t>()[i] = static_cast<std::int64_t>((golden::counter_value(777 + i) + 0.5) * 4);
  }
};

void scale(float* values, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) values[i] *= factor;
}

// What `product` of the node wrote, times `factor`.
void alter(Program& program, const Plan& plan, const Node& node, LayerProduct product, float factor) {
  if (node.layer < 0 || !node.products[static_cast<std::size_t>(product)].used) return;
  if (product == LayerProduct::grad_weight) {
    Tensor& gradient = program.parameters[static_cast<std::size_t>(node.parameters[0])].gradient;
    return scale(gradient.as<float>().data(), gradient.elements(), factor);
  }
  const ValueId id = product == LayerProduct::forward ? node.outputs[0] : node.grad_inputs[0];
  scale(static_cast<float*>(program.address(plan, id)), plan.graph.value(id).type.shape.elements(), factor);
}

// The loss after training; infinity when training ends in Inf or NaN.
double trained_loss(LayerProduct product, float factor) {
  const Problem problem;
  Runtime runtime(1, 1);
  Program program(build(model), problem.types, runtime);
  set_formats(program, true, RoundingMode::stochastic);
  program.after_node = [&](const Plan& plan, const Node& node) {
    alter(program, plan, node, product, factor);
  };
  auto sgd = make_sgd(program);
  double loss = 0;
  try {
    for (int step = 0; step < steps; ++step) {
      loss = run_pass(program, problem.types, problem.pointers);
      update(program, *sgd, rate);
    }
  } catch (const Error& error) {
    REQUIRE(error.code() == Errc::numeric);
    return std::numeric_limits<double>::infinity();
  }
  return loss;
}

}  // namespace

TEST_CASE("a problem is learned with all three integer products, and not with any of them wrong") {
  CHECK(trained_loss(LayerProduct::forward, 1) < 0.02);
  for (LayerProduct product : {LayerProduct::forward, LayerProduct::grad_input, LayerProduct::grad_weight})
    for (float factor : {0.0f, 4.0f, -1.0f}) {
      CAPTURE(static_cast<int>(product), factor);
      CHECK(trained_loss(product, factor) > 0.5);
    }
}
