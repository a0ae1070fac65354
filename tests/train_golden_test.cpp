// Ten training steps of a ResNet-8 against PyTorch in double precision: losses, every gradient, final weights and
// running statistics. The distances allowed are twice those of PyTorch's own float32 run (tools/golden).
#include "support/catch.h"
#include "support/golden.h"
#include "support/model.h"

#include "optim/optimizer.h"

using namespace octavo;
using namespace octavo::test;

namespace {

std::string block(const std::string& name, const std::string& from, int channels, int stride, bool project) {
  const std::string c = "{out: " + std::to_string(channels), s = ", stride: " + std::to_string(stride), p = name + ".";
  std::string text = p + "conv1 conv2d " + from + " " + c + s + ", kernel: 3, pad: 1}\n" + p + "bn1 batch_norm " + p +
                     "conv1\n" + p + "relu1 relu " + p + "bn1\n" + p + "conv2 conv2d " + p + "relu1 " + c +
                     ", kernel: 3, pad: 1}\n" + p + "bn2 batch_norm " + p + "conv2\n";
  if (project)
    text += p + "shortcut_conv conv2d " + from + " " + c + s + ", kernel: 1}\n" + p + "shortcut_bn batch_norm " + p +
            "shortcut_conv\n";
  return text + p + "sum add " + (project ? p + "shortcut_bn" : from) + "," + p + "bn2\n" + p + "relu2 relu " + p + "sum\n";
}

std::string resnet8() {
  return "input image\ninput label\n"
         "conv1 conv2d image {out: 8, kernel: 3, pad: 1}\nbn1 batch_norm conv1\nrelu1 relu bn1\n" +
         block("stage1.0", "relu1", 8, 1, false) + block("stage2.0", "stage1.0.relu2", 16, 2, true) +
         block("stage3.0", "stage2.0.relu2", 32, 2, true) +
         "pool global_avg_pool stage3.0.relu2\nhead linear pool {out: 10}\nce softmax_cross_entropy head,label\n"
         "output logits head\nloss ce\n";
}

struct Golden {
  golden::Fixture fixture = golden::read("resnet8_trace");
  Tensor images = Tensor::empty({8, 16, 16, 3}), labels = Tensor::empty({8}, DType::i64);
  BatchTypes types{{"image", images.type()}, {"label", labels.type()}};
  BatchPointers pointers{{"image", images.data()}, {"label", labels.data()}};

  Golden() {
    for (std::size_t i = 0; i < images.as<float>().size(); ++i)
      images.as<float>()[i] = static_cast<float>(golden::formula(0, i, fixture.fixture.at("image_scale")));
    const std::vector<std::int64_t> values = fixture.fixture.at("labels");
    std::copy(values.begin(), values.end(), labels.as<std::int64_t>().begin());
  }

  void initialize(Program& program) const {
    std::uint64_t number = 1;
    for (const auto& entry : fixture.fixture.at("parameters")) {
      auto out = parameter(program, entry.at("name")).value.as<float>();
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(golden::formula(number, i, entry.at("scale"), entry.at("center")));
      ++number;
    }
  }
};

double worst_gradient(const Golden& golden, Program& program, const std::string& prefix) {
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
  const Golden golden;
  const int threads = GENERATE(1, 2);
  Runtime runtime(threads, 1);
  Program program(build(resnet8()), golden.types, runtime);
  golden.initialize(program);
  std::vector<OptimizerParameter> described;
  for (const ParameterData& data : program.parameters) described.push_back({data.name, data.value.shape(), true});
  auto sgd = make_optimizer("sgd", {{"momentum", 0.9}, {"weight_decay", 5e-4}}, described);
  const auto& losses = golden.fixture.at("loss").values;
  for (std::size_t step = 0; step < losses.size(); ++step) {
    Plan& plan = program.plan(golden.types, Phase::train);
    program.forward(plan, golden.pointers);
    CHECK(program.loss(plan) == Approx(losses[step]).epsilon(2e-5));
    if (step == 0)
      CHECK(golden::relative_distance(program.output(plan, "logits").as<float>(), golden.fixture.at("logits0").values) < 2e-6);
    program.backward(plan, 1);
    if (step == 0) CHECK(worst_gradient(golden, program, "grad0/") < 5e-6);
    if (step == 9) CHECK(worst_gradient(golden, program, "grad9/") < 2e-4);
    std::vector<ParameterUpdate> updates;
    for (ParameterData& data : program.parameters)
      updates.push_back({data.value.as<float>().data(), data.gradient.as<float>().data(), 1});
    sgd->step(updates, 0.05, 1, runtime.parallel);
    program.weights_changed();
    ++runtime.step;
  }
  for (const ParameterData& data : program.parameters)
    CHECK(golden::relative_distance(data.value.as<float>(), golden.fixture.at("final/" + data.name).values) < 2e-5);
  for (const StateData& state : program.states)
    CHECK(golden::relative_distance(state.value.as<float>(), golden.fixture.at("final/" + state.name).values) < 2e-5);
}
