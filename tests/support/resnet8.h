// The ResNet-8 of the golden trace with its batch and starting weights, and one optimizer step over any
// program.
#pragma once

#include "optim/optimizer.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/model.h"

namespace octavo::test {

inline std::string residual_block(const std::string& name, const std::string& from, int channels, int stride,
                                  bool project) {
  const std::string c = "{out: " + std::to_string(channels), s = ", stride: " + std::to_string(stride),
                    p = name + ".";
  std::string text = p + "conv1 conv2d " + from + " " + c + s + ", kernel: 3, pad: 1}\n" + p +
                     "bn1 batch_norm " + p + "conv1\n" + p + "relu1 relu " + p + "bn1\n" + p +
                     "conv2 conv2d " + p + "relu1 " + c + ", kernel: 3, pad: 1}\n" + p + "bn2 batch_norm " +
                     p + "conv2\n";
  if (project)
    text += p + "shortcut_conv conv2d " + from + " " + c + s + ", kernel: 1}\n" + p +
            "shortcut_bn batch_norm " + p + "shortcut_conv\n";
  return text + p + "sum add " + (project ? p + "shortcut_bn" : from) + "," + p + "bn2\n" + p +
         "relu2 relu " + p + "sum\n";
}

/// `blocks` residual blocks in each of the three stages: 1 gives ResNet-8, 3 gives ResNet-20.
inline std::string resnet(int blocks) {
  std::string text =
      "input image\ninput label\n"
      "conv1 conv2d image {out: 8, kernel: 3, pad: 1}\nbn1 batch_norm conv1\nrelu1 relu bn1\n";
  std::string last = "relu1";
  for (int stage = 1; stage <= 3; ++stage)
    for (int i = 0; i < blocks; ++i) {
      const std::string name = "stage" + std::to_string(stage) + "." + std::to_string(i);
      const bool narrows = stage > 1 && i == 0;
      text += residual_block(name, last, 4 << stage, narrows ? 2 : 1, narrows);
      last = name + ".relu2";
    }
  return text + "pool global_avg_pool " + last +
         "\nhead linear pool {out: 10}\nce softmax_cross_entropy head,label\n"
         "output logits head\nloss ce\n";
}

struct Resnet8 {
  golden::Fixture fixture = golden::read("resnet8_trace");
  Tensor images = Tensor::empty({8, 16, 16, 3}), labels = Tensor::empty({8}, DType::i64);
  BatchTypes types{{"image", images.type()}, {"label", labels.type()}};
  BatchPointers pointers{{"image", images.data()}, {"label", labels.data()}};

  Resnet8() {
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

inline std::unique_ptr<Optimizer> make_sgd(const Program& program) {
  std::vector<OptimizerParameter> described;
  for (const ParameterData& data : program.parameters)
    described.push_back({data.name, data.value.shape(), true});
  return make_optimizer("sgd", {{"momentum", 0.9}, {"weight_decay", 5e-4}}, described);
}

/// Forward and backward; the weights stay. Returns the loss.
inline float run_pass(Program& program, const BatchTypes& types, const BatchPointers& pointers) {
  Plan& plan = program.plan(types, Phase::train);
  program.forward(plan, pointers);
  const float loss = program.loss(plan);
  program.backward(plan, 1);
  return loss;
}

inline void update(Program& program, Optimizer& optimizer, double rate) {
  std::vector<ParameterUpdate> updates;
  for (ParameterData& data : program.parameters)
    updates.push_back(
        {data.value.as<float>().data(), data.frozen ? nullptr : data.gradient.as<float>().data(), 1});
  optimizer.step(updates, {rate}, program.runtime().parallel);
  program.weights_changed();
  ++program.runtime().step;
}

/// All values of all parameters, one after the other.
inline std::vector<float> all_weights(const Program& program) {
  std::vector<float> all;
  for (const ParameterData& data : program.parameters)
    all.insert(all.end(), data.value.as<float>().begin(), data.value.as<float>().end());
  return all;
}

inline std::vector<float> all_gradients(const Program& program) {
  std::vector<float> all;
  for (const ParameterData& data : program.parameters)
    if (!data.frozen)
      all.insert(all.end(), data.gradient.as<float>().begin(), data.gradient.as<float>().end());
  return all;
}

}  // namespace octavo::test
