// What models may be made of, through whole steps: shared and frozen weights, parts that exist in training
// only, several outputs and losses, residuals around a bare product, several batch sizes, accumulation, and
// values that are not finite.
#include <cmath>
#include <limits>
#include <set>

#include "octavo/error.h"
#include "support/branches.h"
#include "support/precision.h"
#include "support/resnet8.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::test;

namespace {

Tensor random_tensor(const Shape& shape, std::uint64_t number, double scale = 2) {
  Tensor tensor = Tensor::empty(shape);
  for (std::size_t i = 0; i < tensor.as<float>().size(); ++i)
    tensor.as<float>()[i] = static_cast<float>(golden::formula(number, i, scale));
  return tensor;
}

// Images [n, 6, 6, 3] with labels in [0, 4), samples `first`, `first + 1`, ...
struct Images {
  Tensor image, label;
  BatchTypes types;
  BatchPointers pointers;

  explicit Images(std::int64_t n, std::int64_t first = 0)
      : image(Tensor::empty({n, 6, 6, 3})), label(Tensor::empty({n}, DType::i64)) {
    for (std::int64_t i = 0; i < n * 108; ++i)
      image.as<float>()[static_cast<std::size_t>(i)] =
          static_cast<float>(golden::formula(5, static_cast<std::uint64_t>(first * 108 + i), 2));
    for (std::int64_t i = 0; i < n; ++i)
      label.as<std::int64_t>()[static_cast<std::size_t>(i)] = (first + i) * 7 % 4;
    types = {{"image", image.type()}, {"label", label.type()}};
    pointers = {{"image", image.data()}, {"label", label.data()}};
  }
};

const char* small_model =
    "input image\ninput label\na conv2d image {out: 6, kernel: 3, pad: 1, bias: true}\nr relu a\n"
    "b conv2d r {out: 6, kernel: 3, pad: 1}\nsum add b,r\npool global_avg_pool sum\nhead linear pool {out: "
    "4}\n"
    "ce softmax_cross_entropy head,label\noutput logits head\nloss ce\n";

std::vector<float> values(const Tensor& tensor) {
  return {tensor.as<float>().begin(), tensor.as<float>().end()};
}
std::vector<double> doubles(const std::vector<float>& from) { return {from.begin(), from.end()}; }

std::vector<float> logits(Program& program, const Images& images, Phase phase = Phase::eval) {
  Plan& plan = program.plan(images.types, phase);
  program.forward(plan, images.pointers);
  return values(program.output(plan, "logits"));
}

}  // namespace

TEST_CASE("two micro-steps of 4 samples give the gradient of a batch of 8") {
  const Images all(8), first(4), second(4, 4);
  Runtime runtime(2, 1);
  std::string text = small_model;  // with dropout: masks go by the place in the global batch
  text.replace(text.find("sum add b,r"), 11, "drop dropout b {p: 0.4}\nsum add drop,r");
  Program program(build(text), all.types, runtime);
  run_pass(program, all.types, all.pointers);
  const std::vector<float> whole = all_gradients(program);
  for (const Images* part : {&first, &second}) {
    Plan& plan = program.plan(part->types, Phase::train);
    program.forward(plan, part->pointers);
    program.backward(plan, 0.5f);
    ++runtime.micro_step;
  }
  CHECK(golden::relative_distance(all_gradients(program), doubles(whole)) < 1e-6);
}

TEST_CASE("a weight that two nodes share gets the sum of both gradients") {
  register_test_ops();
  Tensor x = random_tensor({3, 5}, 1), up = random_tensor({3, 5}, 2);
  const BatchTypes types{{"x", x.type()}, {"up", up.type()}};
  const BatchPointers pointers{{"x", x.data()}, {"up", up.data()}};
  const auto model = [](const std::string& second) {
    return "input x\ninput up\na linear x share=w {out: 5, bias: false}\nb linear a share=" + second +
           " {out: 5, bias: false}\nsum test_weighted_sum b,up\nloss sum\n";
  };
  const bool integer = GENERATE(false, true);
  Runtime runtime(1, 1);
  Program shared(build(model("w")), types, runtime), apart(build(model("v")), types, runtime);
  REQUIRE(shared.parameters.size() == 1);
  for (ParameterData& data : apart.parameters) assign(data.value, values(shared.parameters[0].value));
  for (Program* program : {&shared, &apart}) {
    set_formats(*program, integer);
    run_pass(*program, types, pointers);
  }
  std::vector<double> sum;
  for (std::size_t i = 0; i < 25; ++i)
    sum.push_back(double(apart.parameters[0].gradient.as<float>()[i]) +
                  apart.parameters[1].gradient.as<float>()[i]);
  CHECK(golden::relative_distance(values(shared.parameters[0].gradient), sum) < 1e-6);
}

TEST_CASE("nodes that share a weight are all frozen or none") {
  const BatchTypes types{{"x", {DType::f32, {3, 5}}}};
  Runtime runtime(1, 1);
  const std::string text =
      "input x\na linear x share=w frozen {out: 5}\nb linear a share=w {out: 5}\noutput y b\n";
  CHECK_THROWS_WITH(Program(build(text), types, runtime),
                    ContainsSubstring("freeze all nodes that share it"));
}

TEST_CASE("a residual around a bare product: the gradient buffer is not overwritten while it is read") {
  register_test_ops();
  Tensor x = random_tensor({4, 6}, 1), up = random_tensor({4, 6}, 2), w = random_tensor({6, 1, 1, 6}, 3);
  const BatchTypes types{{"x", x.type()}, {"up", up.type()}};
  const bool fusion = GENERATE(true, false);
  Runtime runtime(1, 1);
  Program program(build("input x\ninput up\no test_offset x\nb linear o {out: 6, bias: false}\ny add o,b\n"
                        "sum test_weighted_sum y,up\nloss sum\n"),
                  types, runtime);
  program.fusion = fusion;
  assign(parameter(program, "b.weight").value, values(w));
  run_pass(program, types, {{"x", x.data()}, {"up", up.data()}});
  std::vector<double> expected;
  for (std::size_t n = 0; n < 4; ++n)
    for (std::size_t c = 0; c < 6; ++c) {
      double sum = up.as<float>()[n * 6 + c];
      for (std::size_t k = 0; k < 6; ++k) sum += double(up.as<float>()[n * 6 + k]) * w.as<float>()[k * 6 + c];
      expected.push_back(sum);
    }
  CHECK(golden::relative_distance(values(parameter(program, "o.offset").gradient), expected) < 1e-6);
}

TEST_CASE("frozen layers keep their weights, get no gradient, and pass it on to layers before them") {
  const Images images(4);
  Runtime runtime(1, 1);
  std::string text = small_model;
  text.replace(text.find("b conv2d r {"), 12, "b conv2d r frozen {");
  Program frozen(build(text), images.types, runtime), free(build(small_model), images.types, runtime);
  run_pass(frozen, images.types, images.pointers);
  run_pass(free, images.types, images.pointers);
  CHECK(!parameter(frozen, "b.weight").gradient);
  for (const char* name : {"a.weight", "a.bias", "head.weight"})
    CHECK(values(parameter(frozen, name).gradient) == values(parameter(free, name).gradient));
}

TEST_CASE("an auxiliary head of training: its weighted loss adds up, evaluation does without it") {
  const Images images(4);
  const std::string text = std::string(small_model) +
                           "auxpool global_avg_pool r when=train\naux linear auxpool when=train {out: 4}\n"
                           "auxce softmax_cross_entropy aux,label when=train\noutput side aux\noutput "
                           "features pool\nloss auxce 0.3\n";
  Runtime runtime(1, 1);
  Program with(build(text), images.types, runtime), without(build(small_model), images.types, runtime);
  const float plain = run_pass(without, images.types, images.pointers);
  const float both = run_pass(with, images.types, images.pointers);
  Plan& plan = with.plan(images.types, Phase::train);
  const float side = *static_cast<const float*>(with.value(plan, plan.graph.losses[1].value));
  CHECK(both == Approx(plain + 0.3 * side).epsilon(1e-6));
  CHECK(golden::relative_distance(values(parameter(with, "b.weight").gradient),
                                  doubles(values(parameter(without, "b.weight").gradient))) < 1e-6);
  CHECK(values(parameter(with, "a.weight").gradient) != values(parameter(without, "a.weight").gradient));
  CHECK(with.output(plan, "side").shape() == Shape({4, 4}));
  CHECK(with.output(plan, "features").shape() == Shape({4, 6}));
  CHECK(logits(with, images) == logits(without, images));
  CHECK_THROWS_WITH(with.output(with.plan(images.types, Phase::eval), "side"),
                    ContainsSubstring("no output"));
}

TEST_CASE("outputs that nobody keeps take no memory and change no gradient") {
  const Images images(4);
  Runtime runtime(1, 1);
  const std::string text = std::string(small_model) + "output early r\n";
  Program all(build(text), images.types, runtime), some(build(text), images.types, runtime);
  some.kept_outputs = std::set<std::string>{"logits"};
  run_pass(all, images.types, images.pointers);
  run_pass(some, images.types, images.pointers);
  CHECK(values(parameter(all, "a.weight").gradient) == values(parameter(some, "a.weight").gradient));
  Plan &whole = all.plan(images.types, Phase::train), &plan = some.plan(images.types, Phase::train);
  CHECK(plan.arena_bytes < whole.arena_bytes);
  CHECK(all.output(whole, "early").shape().rank() == 4);
  CHECK(values(some.output(plan, "logits")) == values(all.output(whole, "logits")));
  CHECK_THROWS_WITH(some.output(plan, "early"), ContainsSubstring("the plan keeps no output 'early'"));
  CHECK_THROWS_WITH(some.output(plan, "late"), ContainsSubstring("the model has no output 'late'"));
}

TEST_CASE("INT8 evaluation does not depend on the batch size, and leaves training as it was") {
  const auto granularity = GENERATE(ScaleGranularity::tensor, ScaleGranularity::sample);
  const Images batch(8), five(5);
  Runtime runtime(2, 1);
  Program program(build(small_model), batch.types, runtime);
  Controller controller(precision_settings("int8_minmax"), program.layers, program.slots);
  for (Layer& layer : program.layers) layer.formats.forward.data.granularity = granularity;
  auto sgd = make_sgd(program);
  for (int step = 0; step < 3; ++step) {
    controller.begin_step(step);
    run_pass(program, batch.types, batch.pointers);
    update(program, *sgd, 0.1);
    controller.end_step(step, {});
  }
  std::vector<float> single;
  for (std::int64_t i = 0; i < 5; ++i) {
    const std::vector<float> one = logits(program, Images(1, i));
    single.insert(single.end(), one.begin(), one.end());
  }
  CHECK(single == logits(program, five));
  const std::vector<float> weights = all_weights(program);
  const float before = run_pass(program, batch.types, batch.pointers);
  logits(program, five);
  CHECK(run_pass(program, batch.types, batch.pointers) == before);
  CHECK(all_weights(program) == weights);
}

TEST_CASE("one edge read as an image and as rows keeps both readers' scales") {
  Images images(3);
  for (std::size_t i = 0; i < 3 * 108; ++i)
    images.image.as<float>()[i] *= static_cast<float>(1 << (3 * (i / 108)));
  Runtime runtime(1, 1);
  Program program(
      build("input image\ninput label\na conv2d image {out: 4, kernel: 6}\nf flatten image\nb linear f {out: "
            "4}\n"
            "g flatten a\ny add b,g\nce softmax_cross_entropy y,label\noutput logits y\nloss ce\n"),
      images.types, runtime);
  const std::vector<float> real = logits(program, images, Phase::train);
  set_formats(program, true);
  for (Layer& layer : program.layers) {
    layer.formats.forward.data.granularity = ScaleGranularity::sample;
    layer.formats.grad_weight.data.granularity = ScaleGranularity::channel;
  }
  program.reset_plans();
  CHECK(golden::relative_distance(logits(program, images, Phase::train), doubles(real)) < 0.03);
}

TEST_CASE("Inf and NaN are found before the update and named with layer and step") {
  Images images(4);
  Runtime runtime(1, 1);
  Program program(build(small_model), images.types, runtime);
  set_formats(program, true);
  run_pass(program, images.types, images.pointers);
  runtime.step = 17;
  SECTION("in an input") {
    images.image.as<float>()[5] = std::nanf("");
    CHECK_THROWS_WITH(run_pass(program, images.types, images.pointers),
                      ContainsSubstring("step 17") && ContainsSubstring("'a'"));
  }
  SECTION("in weights") {
    parameter(program, "b.weight").value.as<float>()[7] = std::numeric_limits<float>::infinity();
    program.weights_changed();
    CHECK_THROWS_WITH(run_pass(program, images.types, images.pointers),
                      ContainsSubstring("step 17") && ContainsSubstring("'b'"));
  }
  SECTION("in a gradient") {
    Plan& plan = program.plan(images.types, Phase::train);
    program.forward(plan, images.pointers);
    CHECK_THROWS_WITH(program.backward(plan, std::numeric_limits<float>::infinity()),
                      ContainsSubstring("step 17") && ContainsSubstring("gradient of 'head'"));
  }
}

TEST_CASE("gradients that are all zero give scale 1 and zero gradients") {
  const Images images(4);
  Runtime runtime(1, 1);
  Program program(build(small_model), images.types, runtime);
  set_formats(program, true, RoundingMode::stochastic);
  Plan& plan = program.plan(images.types, Phase::train);
  program.forward(plan, images.pointers);
  program.backward(plan, 0);
  int gradients = 0;
  for (int i = 0; i < program.slots.size(); ++i)
    if (program.slots[i].operand == Operand::gradient) {
      ++gradients;
      CHECK(program.slots[i].scale == std::vector<float>{1});
    }
  CHECK(gradients > 0);
  for (float g : all_gradients(program)) REQUIRE(g == 0);
}

TEST_CASE("a model with branches: fusion and threads change nothing, in float and in integers") {
  const bool integer = GENERATE(false, true);
  const Images images(6);
  const auto gradients = [&](bool fusion, int threads) {
    Runtime runtime(threads, 1);
    Program program(build(branches()), images.types, runtime);
    set_formats(program, integer, RoundingMode::stochastic);
    program.fusion = fusion;
    std::vector<float> result{run_pass(program, images.types, images.pointers)};
    const std::vector<float> inner =
        values(program.output(program.plan(images.types, Phase::train), "inner"));
    const std::vector<float> all = all_gradients(program);
    result.insert(result.end(), inner.begin(), inner.end());
    result.insert(result.end(), all.begin(), all.end());
    return result;
  };
  const std::vector<float> expected = gradients(true, 1);
  CHECK(golden::relative_distance(gradients(false, 1), doubles(expected)) == 0);
  CHECK(golden::relative_distance(gradients(true, 3), doubles(expected)) == 0);
}

TEST_CASE("a model with branches: the loss falls along the gradient as fast as the gradient says") {
  const Images images(6);
  Runtime runtime(2, 1);
  Program program(build(branches()), images.types, runtime);
  run_pass(program, images.types, images.pointers);
  for (ParameterData& moved : program.parameters) {
    const std::vector<float> at = values(moved.value);
    run_pass(program, images.types, images.pointers);
    const std::vector<float> gradient = values(moved.gradient);
    double square = 0;
    for (float g : gradient) square += double(g) * g;
    if (moved.name == "stem.bias") {  // the batch norm behind it takes every constant away
      CHECK(square < 1e-10);
      continue;
    }
    const double h = 2e-3 / std::sqrt(square);
    double slope = 0;
    for (int side : {1, -1}) {
      for (std::size_t i = 0; i < at.size(); ++i)
        moved.value.as<float>()[i] = static_cast<float>(at[i] + side * h * gradient[i]);
      program.weights_changed();
      slope += side * double(run_pass(program, images.types, images.pointers)) / (2 * h);
    }
    assign(moved.value, at);
    program.weights_changed();
    CAPTURE(moved.name, slope, square);
    CHECK(std::fabs(slope / square - 1) < 0.02);
  }
}
