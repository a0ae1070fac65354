// The golden fixtures themselves: formula, names and layouts, checked with a few lines of plain loops.
#include "support/golden.h"

#include "support/catch.h"

using namespace octavo;

namespace {

struct ConvCase {
  std::vector<std::int64_t> x, w, y, stride, pad, dilation;
  std::int64_t groups;
};

ConvCase read_case(const golden::Fixture& vectors, const nlohmann::json& entry) {
  const std::string name = entry.at("name");
  const auto& attributes = entry.at("attributes");
  return {vectors.at(name + "/input").shape,
          vectors.at(name + "/weight").shape,
          vectors.at(name + "/output").shape,
          attributes.at("stride"),
          attributes.at("pad"),
          attributes.at("dilation"),
          attributes.at("groups")};
}

/// Calls visit(x index, w index, y index) for every product of an NHWC / KRSC convolution.
template <class Visit>
void for_each_product(const ConvCase& c, const Visit& visit) {
  const std::int64_t per_group = c.w[0] / c.groups, taps = c.w[1] * c.w[2] * c.w[3];
  const std::int64_t outputs = c.y[0] * c.y[1] * c.y[2] * c.y[3];
  for (std::int64_t out = 0; out < outputs; ++out)
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      const std::int64_t k = out % c.y[3], j = out / c.y[3] % c.y[2], i = out / c.y[3] / c.y[2] % c.y[1];
      const std::int64_t channel = tap % c.w[3], s = tap / c.w[3] % c.w[2], r = tap / c.w[3] / c.w[2];
      const std::int64_t row = i * c.stride[0] - c.pad[0] + r * c.dilation[0];
      const std::int64_t column = j * c.stride[1] - c.pad[1] + s * c.dilation[1];
      if (row < 0 || row >= c.x[1] || column < 0 || column >= c.x[2]) continue;
      const std::int64_t n = out / (c.y[1] * c.y[2] * c.y[3]), from = k / per_group * c.w[3] + channel;
      visit(((n * c.x[1] + row) * c.x[2] + column) * c.x[3] + from, k * taps + tap, out);
    }
}

}  // namespace

TEST_CASE("the value formula gives the stored inputs") {
  const golden::Fixture vectors = golden::read("op_vectors");
  const auto& input = vectors.at("conv2d_3x3/input").values;
  for (std::size_t i = 0; i < input.size(); ++i) REQUIRE(input[i] == golden::formula(0, i, 2.0));
  const auto& weight = vectors.at("conv2d_3x3/weight").values;
  for (std::size_t i = 0; i < weight.size(); ++i) REQUIRE(weight[i] == golden::formula(1, i, 1.0));
}

TEST_CASE("the convolution vectors are NHWC and KRSC, with all three products") {
  const golden::Fixture vectors = golden::read("op_vectors");
  int cases = 0;
  for (const auto& entry : vectors.fixture.at("cases")) {
    if (entry.at("op") != "conv2d") continue;
    const std::string name = entry.at("name");
    CAPTURE(name);
    const auto& x = vectors.at(name + "/input").values;
    const auto& w = vectors.at(name + "/weight").values;
    const auto& g = vectors.at(name + "/grad_output").values;
    std::vector<double> y(g.size()), dx(x.size()), dw(w.size());
    const bool biased = vectors.tensors.count(name + "/bias") > 0;
    for (std::size_t i = 0; biased && i < y.size(); ++i) {
      const auto& bias = vectors.at(name + "/bias").values;
      y[i] = bias[i % bias.size()];
    }
    for_each_product(read_case(vectors, entry), [&](std::size_t a, std::size_t b, std::size_t out) {
      y[out] += x[a] * w[b];
      dx[a] += g[out] * w[b];
      dw[b] += g[out] * x[a];
    });
    CHECK(golden::relative_distance(y, vectors.at(name + "/output").values) < 1e-14);
    CHECK(golden::relative_distance(dx, vectors.at(name + "/grad_input").values) < 1e-14);
    CHECK(golden::relative_distance(dw, vectors.at(name + "/grad_weight").values) < 1e-14);
    ++cases;
  }
  CHECK(cases == 10);
}

TEST_CASE("the training trace holds what its description lists") {
  const golden::Fixture trace = golden::read("resnet8_trace");
  const auto& parameters = trace.fixture.at("parameters");
  const auto& running = trace.fixture.at("running");
  CHECK(trace.at("loss").values.size() == 10);
  CHECK(trace.at("logits0").shape == std::vector<std::int64_t>{8, 10});
  CHECK(trace.tensors.size() == 2 + 3 * parameters.size() + running.size());
  for (const auto& entry : parameters) {
    const std::string name = entry.at("name");
    const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
    for (const char* prefix : {"grad0/", "grad9/", "final/"}) CHECK(trace.at(prefix + name).shape == shape);
  }
  for (const auto& name : running) CHECK(trace.tensors.count("final/" + name.get<std::string>()) == 1);
}

TEST_CASE("the trace's loss is the cross entropy of its logits") {
  const golden::Fixture trace = golden::read("resnet8_trace");
  const auto& logits = trace.at("logits0").values;
  const auto labels = trace.fixture.at("labels").get<std::vector<std::size_t>>();
  double loss = 0;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    double sum = 0;
    for (std::size_t k = 0; k < 10; ++k) sum += std::exp(logits[n * 10 + k]);
    loss += (std::log(sum) - logits[n * 10 + labels[n]]) / static_cast<double>(labels.size());
  }
  CHECK(loss == Approx(trace.at("loss").values[0]).epsilon(1e-12));
}
