// bfloat16 edges: which values they are, that ops which take either type compute the same on them, and that
// training with them depends neither on threads nor on the instruction set.
#include <cmath>
#include <map>

#include "graph/op_table.h"
#include "support/precision.h"
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;
using kernels::FloatSource;

namespace {

// A bias, a maximum, a skip around batch norm, a mean: every reader and writer of edges.
const char* model =
    "input image\ninput label\n"
    "a conv2d image {out: 8, kernel: 3, pad: 1, bias: true}\nr relu a\n"
    "p max_pool r {kernel: 3, stride: 2, pad: 1}\n"
    "b conv2d p {out: 8, kernel: 3, pad: 1}\nn batch_norm b\nsum add n,p\nq relu sum\n"
    "c conv2d q {out: 8, kernel: 1}\npool global_avg_pool c\nhead linear pool {out: 4}\n"
    "ce softmax_cross_entropy head,label\noutput logits head\nloss ce\n";

struct Batch {
  Tensor image = Tensor::empty({4, 9, 9, 3}), label = Tensor::empty({4}, DType::i64);
  BatchTypes types{{"image", image.type()}, {"label", label.type()}};
  BatchPointers pointers{{"image", image.data()}, {"label", label.data()}};
  Batch() {
    for (std::size_t i = 0; i < image.as<float>().size(); ++i)
      image.as<float>()[i] = static_cast<float>(golden::formula(5, i, 2));
    for (std::size_t i = 0; i < 4; ++i) label.as<std::int64_t>()[i] = static_cast<std::int64_t>(i);
  }
};

std::map<std::string, DType> types_of(const Graph& graph, ValueKind kind) {
  std::map<std::string, DType> types;
  for (const Value& value : graph.values)
    if (value.kind == kind) types[value.name] = value.type.dtype;
  return types;
}

FloatSource floats(const Program& program, const Plan& plan, ValueId id) {
  return {program.value(plan, id), kernel_type(plan.graph.value(plan.graph.root(id)).type.dtype)};
}

struct Steps {
  std::vector<float> losses, weights;
};

Steps train(bool bf16, int threads) {
  const Resnet8 golden;
  Runtime runtime(threads, 1);
  Program program(build(resnet(1)), golden.types, runtime);
  golden.initialize(program);
  set_formats(program, true, RoundingMode::stochastic);
  program.bf16_edges = bf16;
  auto sgd = make_sgd(program);
  Steps steps;
  for (int step = 0; step < 5; ++step) {
    steps.losses.push_back(run_pass(program, golden.types, golden.pointers));
    update(program, *sgd, 0.05);
  }
  steps.weights = all_weights(program);
  return steps;
}

}  // namespace

TEST_CASE("edges between integer products, chains and pools are bfloat16, all others FP32") {
  const Batch batch;
  Runtime runtime(1, 1);
  Program program(build(model), batch.types, runtime);
  set_formats(program, true);
  program.bf16_edges = true;
  const Graph& graph = program.plan(batch.types, Phase::train).graph;
  std::map<std::string, DType> forward = types_of(graph, ValueKind::activation);
  for (const char* name : {"a", "r", "p", "b", "q", "c", "pool"}) CHECK(forward[name] == DType::bf16);
  for (const char* name : {"head", "ce"}) CHECK(forward[name] == DType::f32);
  for (const auto& [name, type] : types_of(graph, ValueKind::input)) CHECK(type != DType::bf16);
  for (const auto& [name, type] : types_of(graph, ValueKind::saved)) CHECK(type != DType::bf16);
  CHECK(types_of(graph, ValueKind::gradient).size() > 5);
}

TEST_CASE("a layer in FP32 reads and writes FP32, and the pool behind it follows") {
  const Batch batch;
  Runtime runtime(1, 1);
  Program program(build(model), batch.types, runtime);
  set_formats(program, true);
  program.layers[2].formats = {};  // c
  program.bf16_edges = true;
  const Graph& graph = program.plan(batch.types, Phase::train).graph;
  std::map<std::string, DType> forward = types_of(graph, ValueKind::activation);
  for (const char* name : {"q", "c", "pool"}) CHECK(forward[name] == DType::f32);
  for (const char* name : {"a", "r", "p", "b"}) CHECK(forward[name] == DType::bf16);
}

TEST_CASE("a layer of an application, whose code touches what its products wrote, has FP32 around it") {
  OpDef op = find_op("conv2d");
  op.type = "own_conv";
  op.takes_bf16 = false;
  op.forward = [](OpContext& context) {
    context.multiply_forward();
    const std::int64_t size = context.signature().outputs[0].shape.elements();
    for (std::int64_t i = 0; i < size; ++i) context.out<float>(0)[i] += 1;
  };
  register_op(op);
  std::string text = model;
  text.replace(text.find("b conv2d"), 8, "b own_conv");
  const Batch batch;
  Runtime runtime(1, 1);
  Program program(build(text), batch.types, runtime);
  set_formats(program, true);
  program.bf16_edges = true;
  const Plan& plan = program.plan(batch.types, Phase::train);
  std::map<std::string, DType> forward = types_of(plan.graph, ValueKind::activation);
  CHECK(forward["b"] == DType::f32);
  for (const char* name : {"a", "r", "p", "q", "c"}) CHECK(forward[name] == DType::bf16);
  for (const Node& node : plan.graph.nodes)
    if (node.op->type == "own_conv" && node.pass == Pass::backward)
      CHECK(plan.graph.value(plan.graph.root(node.grad_inputs[0])).type.dtype == DType::f32);
  CHECK(std::isfinite(run_pass(program, batch.types, batch.pointers)));
}

TEST_CASE("without integer products there is nothing to store in bfloat16") {
  const Batch batch;
  Runtime runtime(1, 1);
  Program program(build(resnet(1)), Resnet8().types, runtime);
  set_formats(program, false);
  program.bf16_edges = true;
  for (const Phase phase : {Phase::train, Phase::eval})
    for (const Value& value : program.plan(Resnet8().types, phase).graph.values)
      if (value.kind == ValueKind::activation && value.name.find("conv") != std::string::npos)
        CHECK(value.type.dtype == DType::f32);
}

TEST_CASE("pools of bfloat16 take maxima exactly, means in FP32, and spread gradients to the same pixels") {
  const Batch batch;
  Runtime runtime(2, 1);
  Program program(build(model), batch.types, runtime);
  set_formats(program, true);
  program.bf16_edges = true;
  int looked = 0;
  std::vector<float> expected_gradient(4 * 9 * 9 * 8);
  std::vector<std::size_t> chosen;
  program.after_node = [&](const Plan& plan, const Node& node) {
    if (node.op->type == "max_pool" && node.pass == Pass::forward) {
      const FloatSource in = floats(program, plan, node.inputs[0]),
                        out = floats(program, plan, node.outputs[0]);
      for (std::int64_t n = 0; n < 4; ++n)
        for (std::int64_t i = 0; i < 5; ++i)
          for (std::int64_t j = 0; j < 5; ++j)
            for (std::int64_t c = 0; c < 8; ++c) {
              std::int64_t best = -1;
              for (std::int64_t y = std::max<std::int64_t>(0, 2 * i - 1);
                   y < std::min<std::int64_t>(9, 2 * i + 2); ++y)
                for (std::int64_t x = std::max<std::int64_t>(0, 2 * j - 1);
                     x < std::min<std::int64_t>(9, 2 * j + 2); ++x) {
                  const std::int64_t at = ((n * 9 + y) * 9 + x) * 8 + c;
                  if (best < 0 || in[at] > in[best]) best = at;
                }
              REQUIRE(out[((n * 5 + i) * 5 + j) * 8 + c] == in[best]);
              chosen.push_back(static_cast<std::size_t>(best));
            }
      ++looked;
    }
    if (node.op->type == "max_pool" && node.pass == Pass::backward) {
      const FloatSource gradient = floats(program, plan, node.grad_outputs[0]),
                        spread = floats(program, plan, node.grad_inputs[0]);
      for (std::size_t e = 0; e < chosen.size(); ++e)
        expected_gradient[chosen[e]] += gradient[static_cast<std::int64_t>(e)];
      float largest = 0;
      for (const float v : expected_gradient) largest = std::max(largest, std::fabs(v));
      CHECK(largest > 0);
      for (std::size_t i = 0; i < expected_gradient.size(); ++i)  // up to three sums are rounded
        REQUIRE(std::fabs(spread[static_cast<std::int64_t>(i)] - expected_gradient[i]) <= 0x3p-9f * largest);
      ++looked;
    }
    if (node.op->type == "global_avg_pool" && node.pass == Pass::forward) {
      const FloatSource in = floats(program, plan, node.inputs[0]),
                        out = floats(program, plan, node.outputs[0]);
      for (std::int64_t n = 0; n < 4; ++n)
        for (std::int64_t c = 0; c < 8; ++c) {
          float sum = 0;
          for (std::int64_t p = 0; p < 25; ++p) sum += in[(n * 25 + p) * 8 + c];
          REQUIRE(out[n * 8 + c] == kernels::to_float(kernels::to_bf16(sum / 25)));
        }
      ++looked;
    }
  };
  run_pass(program, batch.types, batch.pointers);
  CHECK(looked == 3);
}

TEST_CASE("bfloat16 edges round the gradients a little, biases included") {
  const Batch batch;
  const auto gradients = [&](bool bf16) {
    Runtime runtime(2, 1);
    Program program(build(model), batch.types, runtime);
    set_formats(program, true);
    program.bf16_edges = bf16;
    run_pass(program, batch.types, batch.pointers);
    return std::pair(all_gradients(program), parameter(program, "a.bias").gradient.as<float>()[0]);
  };
  const auto [narrow, narrow_bias] = gradients(true);
  const auto [wide, wide_bias] = gradients(false);
  CHECK(narrow != wide);
  CHECK(golden::relative_distance(narrow, {wide.begin(), wide.end()}) < 0.1);
  CHECK(std::fabs(narrow_bias - wide_bias) < 0.05f * std::fabs(wide_bias));
}

TEST_CASE("training with bfloat16 edges is the same for any number of threads and on every instruction set") {
  const Steps one = train(true, 1);
  const Steps wide = train(false, 1);
  CHECK(one.weights != wide.weights);
  for (std::size_t i = 0; i < one.losses.size(); ++i)
    CHECK(std::fabs(one.losses[i] - wide.losses[i]) < 0.05f * wide.losses[0]);
  CHECK(train(true, 3).weights == one.weights);
  const kernels::Isa before = kernels::active_isa();
  for (kernels::Isa isa : {kernels::Isa::ref, kernels::Isa::avx2, kernels::Isa::avx512vnni}) {
    if (!kernels::isa_supported(isa)) {
      WARN("this CPU lacks " << kernels::isa_name(isa) << ": not tested");
      continue;
    }
    CAPTURE(kernels::isa_name(isa));
    kernels::force_isa(isa);
    CHECK(train(true, 2).weights == one.weights);
  }
  kernels::force_isa(before);
}
