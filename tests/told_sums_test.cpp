// Batch norm takes the sums that the product before it tells.
#include "support/precision.h"
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

const char* model =
    "input image\ninput label\n"
    "a conv2d image {out: 32, kernel: 3, pad: 1}\nn batch_norm a\nr relu n\n"
    "b conv2d r {out: 32, kernel: 3, pad: 1, groups: 32}\nm batch_norm b\ns relu m\n"
    "pool global_avg_pool s\nhead linear pool {out: 10}\nce softmax_cross_entropy head,label\n"
    "output logits head\nloss ce\n";

struct Images {
  Tensor images = Tensor::empty({8, 48, 48, 4}), labels = Tensor::empty({8}, DType::i64);
  BatchTypes types{{"image", images.type()}, {"label", labels.type()}};
  BatchPointers pointers{{"image", images.data()}, {"label", labels.data()}};
  Images() {
    std::uint32_t at = 0;
    for (float& v : images.as<float>()) v = kernels::random_uniform({1, 2}, at++) - 0.3F;
    for (std::int64_t& label : labels.as<std::int64_t>()) label = 3;
  }
};

/// Running means after a step in which every told sum has been raised by `more` for each pixel.
std::vector<float> running_means(bool integers, double more, int& told) {
  const Images batch;
  Runtime runtime(2, 1);
  Program program(build(model), batch.types, runtime);
  if (integers) set_formats(program, true, RoundingMode::stochastic);
  program.after_product = [&](const Plan& plan, const Node& node, LayerProduct which, double) {
    if (which != LayerProduct::forward) return;
    const auto index = static_cast<std::size_t>(&node - plan.graph.nodes.data());
    // The plan is the program's own.
    ToldSums& sums = const_cast<Plan&>(plan).runs[index].sums;  // NOLINT
    if (!sums.there) return;
    ++told;
    for (double& sum : sums.values) sum += more * 8 * 48 * 48;
  };
  run_pass(program, batch.types, batch.pointers);
  std::vector<float> means;
  for (const StateData& state : program.states)
    if (state.name.find("running_mean") != std::string::npos)
      for (const float mean : state.value.as<float>()) means.push_back(mean);
  return means;
}

}  // namespace

TEST_CASE("batch norm takes the sums that integer products tell, of convolutions and depthwise ones") {
  int told = 0;
  const std::vector<float> before = running_means(true, 0, told), after = running_means(true, 3, told);
  CHECK(told == 4);
  REQUIRE(before.size() == 64);
  // momentum 0.1 of 3; the second layer sees a first one that is shifted
  for (std::size_t i = 0; i < 32; ++i) CHECK(after[i] - before[i] == Approx(0.3).margin(1e-5));
}

TEST_CASE("products in float tell none") {
  int told = 0;
  CHECK(running_means(false, 0, told).size() == 64);
  CHECK(told == 0);
}
