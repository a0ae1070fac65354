// The integer path of conv2d and linear through the whole program: the views hold the rounded values, and
// each product equals float(exact sum) * (a_scale * b_scale) bit for bit, for every scale granularity that
// the product allows.
#include <algorithm>
#include <cmath>

#include "support/catch.h"
#include "support/golden.h"
#include "support/model.h"
#include "support/products.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::test;

namespace {

using Integers = std::vector<std::int64_t>;
using Scales = std::vector<float>;

struct IntegerOperand {
  Integers values;
  Scales scales;
  std::vector<std::uint8_t> classes = {};  // of the samples, which then have the scale class_scale 2^(c / 2)
  float class_scale = 1;
};

std::vector<float> copy_floats(const Program& program, const Plan& plan, ValueId id) {
  const auto* from = static_cast<const float*>(program.value(plan, id));
  return {from, from + plan.graph.value(id).type.shape.elements()};
}

// What one training step of the layer "node" read and wrote, taken while the nodes run.
struct Record {
  kernels::ConvShape shape;
  std::array<IntegerOperand, 3> a;
  IntegerOperand grad_weight_b;
  std::vector<float> y, dx;

  // The digits of all planes, put together.
  IntegerOperand read(Program& program, const Plan& plan, ValueId id, int slot) const {
    const Value& value = plan.graph.value(id);
    const kernels::View& view = value.view;
    const auto size = static_cast<std::size_t>(view.n * view.h * view.w * view.c);
    const Slot& from = program.slots[slot];
    IntegerOperand operand{Integers(size), from.scale};
    if (from.format.granularity == ScaleGranularity::sample_class)
      operand.classes = from.sample_class, operand.class_scale = from.class_scale;
    std::vector<std::int8_t> digits(size);
    std::int64_t base = 1;
    for (int plane = 0; plane < value.planes; ++plane, base *= 256) {
      const auto* at =
          static_cast<const std::byte*>(program.value(plan, id)) + plane * kernels::plane_stride(view);
      kernels::read_view(at, view, digits.data());
      for (std::size_t i = 0; i < size; ++i) {
        const bool is_unsigned = view.zero == 0;
        operand.values[i] += base * (is_unsigned ? static_cast<std::uint8_t>(digits[i]) : digits[i]);
      }
    }
    return operand;
  }

  void take(Program& program, const Plan& plan, const Node& node) {
    if (node.layer < 0) return;
    for (std::size_t p = 0; p < 3; ++p) {
      const ProductPlan& product = node.products[p];
      if (!product.used) continue;
      REQUIRE(product.integer);
      shape = product.shape;
      a[p] = read(program, plan, product.a, product.a_slot);
      if (product.b != no_value) grad_weight_b = read(program, plan, product.b, product.b_slot);
    }
    if (node.pass == Pass::forward)
      y = copy_floats(program, plan, node.outputs[0]);
    else
      dx = copy_floats(program, plan, node.grad_inputs[0]);
  }
};

float at(const Scales& scales, std::int64_t index) {
  return scales.size() == 1 ? scales[0] : scales.at(static_cast<std::size_t>(index));
}

// tanh(w) over its largest magnitude.
std::vector<float> squeezed(const std::vector<float>& w) {
  std::vector<float> t;
  t.reserve(w.size());
  for (const float v : w) t.push_back(std::tanh(v));
  const float largest = std::fabs(
      *std::max_element(t.begin(), t.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
  for (float& v : t) v *= 1 / largest;
  return t;
}

// DoReFa-Net's formula for k bits: 2 quantize_k(w') - 1 with w' = t / 2 + 1/2, as a multiple of 1 / (2^k -
// 1).
IntegerOperand quantize_dorefa(const std::vector<float>& w, int k) {
  const float levels = static_cast<float>((1 << k) - 1);
  IntegerOperand result;
  result.scales = {1 / levels};
  for (const float t : squeezed(w))
    result.values.push_back(2 * static_cast<std::int64_t>(std::nearbyint((t / 2 + 0.5f) * levels)) -
                            static_cast<std::int64_t>(levels));
  return result;
}

// W by its own maximum, over everything or per channel: of the outputs, or of the inputs of all groups.
IntegerOperand quantize_weights_again(const std::vector<float>& w, const kernels::ConvShape& p,
                                      const SlotFormat& format, bool by_output) {
  if (format.tanh) return quantize_dorefa(w, format.bits - 1);
  const ScaleGranularity granularity = format.granularity;
  const auto qmax = static_cast<float>(quantized_max(format.bits));
  if (format.fixed_clip > 0) {
    IntegerOperand result;
    result.scales = {0x1p-7f};
    for (const float v : w)
      result.values.push_back(std::clamp<std::int64_t>(std::llrint(v * 128), -127, 127));
    return result;
  }
  const std::int64_t taps = p.r * p.s, c = p.c / p.groups, filters = p.k / p.groups;
  const auto channel = [&](std::int64_t i) {
    if (granularity == ScaleGranularity::tensor) return std::int64_t{0};
    const std::int64_t k = i / (taps * c);
    return by_output ? k : k / filters * c + i % c;
  };
  const std::int64_t count = granularity == ScaleGranularity::tensor ? 1 : by_output ? p.k : p.c;
  std::vector<float> maximum(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < w.size(); ++i) {
    float& m = maximum[static_cast<std::size_t>(channel(static_cast<std::int64_t>(i)))];
    m = std::max(m, std::fabs(w[i]));
  }
  IntegerOperand result;
  for (float m : maximum) result.scales.push_back(m / qmax);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float m = maximum[static_cast<std::size_t>(channel(static_cast<std::int64_t>(i)))];
    result.values.push_back(static_cast<std::int64_t>(std::nearbyint(w[i] * (qmax / m))));
  }
  return result;
}

struct Expected {
  std::vector<float> y, dx, dw;
};

// `factors` of G, one per channel or none, are in w_backward already.
Expected expect(const Record& seen, const IntegerOperand& w_forward, const IntegerOperand& w_backward,
                const std::vector<float>& factors, const float* bias) {
  const kernels::ConvShape& p = seen.shape;
  const IntegerOperand& g = seen.grad_weight_b;
  std::vector<std::int64_t> y(seen.y.size()), dx(seen.dx.size()), dw(w_forward.values.size()), odd(dw.size());
  for_each_product(p, [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
    const auto x = static_cast<std::size_t>(ix), w = static_cast<std::size_t>(iw),
               o = static_cast<std::size_t>(iy);
    y[o] += seen.a[0].values[x] * w_forward.values[w];
    dx[x] += seen.a[1].values[o] * w_backward.values[w];
    const int halves = g.classes.empty() ? 0 : g.classes[static_cast<std::size_t>(iy / (p.ho * p.wo * p.k))];
    (halves % 2 != 0 ? odd : dw)[w] += (seen.a[2].values[x] * g.values[o]) << (halves / 2);
  });
  Expected result;
  const std::int64_t c = p.c / p.groups, row = p.r * p.s * c, filters = p.k / p.groups;
  for (std::int64_t i = 0; i < std::ssize(y); ++i) {
    const float scale = at(seen.a[0].scales, i / (p.ho * p.wo * p.k)) * at(w_forward.scales, i % p.k);
    result.y.push_back(static_cast<float>(y[static_cast<std::size_t>(i)]) * scale +
                       (bias ? bias[i % p.k] : 0));
  }
  for (std::int64_t i = 0; i < std::ssize(dx); ++i) {
    const float scale = at(seen.a[1].scales, i / (p.h * p.w * p.c)) * at(w_backward.scales, i % p.c);
    result.dx.push_back(static_cast<float>(dx[static_cast<std::size_t>(i)]) * scale);
  }
  for (std::int64_t i = 0; i < std::ssize(dw); ++i) {
    const float scale = at(seen.a[2].scales, i / row / filters * c + i % c) *
                        (g.classes.empty() ? at(g.scales, i / row)
                         : factors.empty() ? g.class_scale
                                           : g.class_scale * at(factors, i / row));
    float sum = static_cast<float>(dw[static_cast<std::size_t>(i)]);
    if (!g.classes.empty()) sum += static_cast<float>(odd[static_cast<std::size_t>(i)]) * std::sqrt(2.0f);
    result.dw.push_back(sum * scale);
  }
  return result;
}

// The integers of an activation or gradient are its values over the scale, to nearest.
void check_rounding(const std::vector<float>& values, const IntegerOperand& operand, const SlotFormat& format,
                    std::int64_t samples, std::int64_t channels) {
  const ScaleGranularity granularity = format.granularity;
  std::int64_t wrong = 0;
  const std::int64_t sample = std::ssize(values) / samples;
  for (std::int64_t i = 0; i < std::ssize(values); ++i) {
    const std::int64_t scale = granularity == ScaleGranularity::channel ? i % channels
                               : has_sample_scales(granularity)         ? i / sample
                                                                        : 0;
    const double exact = static_cast<double>(values[static_cast<std::size_t>(i)]) /
                         operand.scales.at(static_cast<std::size_t>(scale));
    // v / scale in float is off by some units in its last place.
    const bool coarse = format.grid == IntegerGrid::flagged && std::fabs(exact) >= 128;
    const double half = coarse                            ? 64
                        : format.grid == IntegerGrid::odd ? 1
                                                          : 0.5,
                 slack = 1e-4 + 2e-7 * std::fabs(exact);
    const double expected =
        format.grid == IntegerGrid::flagged ? std::clamp(exact, -16256.0, 16256.0) : exact;
    wrong +=
        std::fabs(static_cast<double>(operand.values[static_cast<std::size_t>(i)]) - expected) > half + slack;
  }
  CHECK(wrong == 0);
}

std::int64_t mismatches(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < found.size(); ++i) count += found[i] != expected[i];
  return count;
}

struct Case {
  const char* node;
  Shape x;
};

void randomize(Tensor& tensor, std::uint64_t number) {
  auto values = tensor.as<float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(golden::formula(number, i, 2) * (1 + static_cast<double>(i % 7)));
}

// One axis bit per operand pair: 0 keeps one scale per tensor.
LayerFormats formats(int data_axis, int other_axis) {
  using enum ScaleGranularity;
  const auto with = [](ScaleGranularity g) { return SlotFormat{8, g, RoundingMode::nearest_even}; };
  const SlotFormat sample_or_tensor = with(data_axis ? sample : tensor),
                   channel_or_tensor = with(other_axis ? channel : tensor);
  return {{true, sample_or_tensor, channel_or_tensor},
          {true, sample_or_tensor, channel_or_tensor},
          {true, with(data_axis ? channel : tensor), channel_or_tensor}};
}

// Widths of W, X and G, which are digits of 8 bits.
LayerFormats widths(int w, int x, int g) {
  const SlotFormat weight{w}, activation{x}, gradient{g};
  return {{true, activation, weight}, {true, gradient, weight}, {true, activation, gradient}};
}

// What `auto` uses: scale classes of samples for G, unsigned X behind ReLU.
LayerFormats class_formats(int gradient_bits) {
  using enum ScaleGranularity;
  SlotFormat x;
  x.unsigned_ok = true;
  const SlotFormat w{8, channel}, g{gradient_bits, sample_class, RoundingMode::nearest_even};
  return {{true, x, w}, {true, g, w}, {true, x, g}};
}

// And a factor per channel of G, folded into the weights of the data gradient.
LayerFormats factor_formats() {
  LayerFormats f = class_formats(8);
  f.grad_input.data.channel_factors = f.grad_weight.other.channel_factors = true;
  f.grad_input.fold_channels = true;
  return f;
}

// What `dorefa` uses: odd integers for squeezed W and for G.
LayerFormats dorefa_formats() {
  LayerFormats f = class_formats(9);
  f.forward.other = f.grad_input.other = {.bits = 9, .grid = IntegerGrid::odd, .tanh = true};
  f.grad_input.data.grid = f.grad_weight.other.grid = IntegerGrid::odd;
  return f;
}

// What `wageubn` uses: fixed units for W and X, 8 bits and a flag for G.
LayerFormats wageubn_formats() {
  const SlotFormat w{.bits = 8, .fixed_clip = 127.0f / 128}, x{.bits = 16, .fixed_clip = 32639.0f / 128},
      g{.bits = 15, .grid = IntegerGrid::flagged};
  return {{true, x, w}, {true, g, w}, {true, x, g}};
}

// The scale of a sample is its own, at most half an octave larger.
void check_classes(const std::vector<float>& values, const IntegerOperand& g, float qmax) {
  const std::size_t size = values.size() / g.classes.size();
  for (std::size_t n = 0; n < g.classes.size(); ++n) {
    float largest = 0;
    for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, std::fabs(values[n * size + i]));
    if (largest == 0) {
      CHECK(g.classes[n] == 0);
      continue;
    }
    CHECK(g.scales[n] * qmax >= largest * (1 - 1e-5f));
    CHECK(g.scales[n] * qmax <= largest * std::sqrt(2.0f) * (1 + 1e-5f));
    CHECK(g.scales[n] == Approx(g.class_scale * std::exp2(0.5 * g.classes[n])));
  }
}

void check_case(const Case& c, const LayerFormats& f, int threads) {
  Tensor x = Tensor::empty(c.x);
  randomize(x, 1);
  Runtime runtime(threads, 1);
  const bool rectified = f.forward.data.unsigned_ok;
  const std::string entry = rectified ? "first test_offset in\nx relu first" : "x test_offset in";
  const std::string text = "input in\ninput up\n" + entry + "\nnode " +
                           std::string(c.node).insert(std::string(c.node).find('{'), "x ") +
                           "\nsum test_weighted_sum node,up\nloss sum\n";
  const BatchTypes probe{{"in", x.type()}, {"up", {DType::f32, {}}}};
  Graph graph = build(text);
  Program sized(graph, probe, runtime);
  const Shape y_shape = sized.graph().nodes[rectified ? 2 : 1].signature->outputs[0].shape;
  Tensor up = Tensor::empty(y_shape);
  randomize(up, 2);
  if (f.grad_weight.other.granularity == ScaleGranularity::sample_class) {
    auto values = up.as<float>();
    const std::size_t sample = values.size() / static_cast<std::size_t>(y_shape[0]);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t number = i / sample;
      values[i] *= 1e-5f * std::exp2(-1.3f * static_cast<float>(number));
    }
    // The last of several samples has no gradient: it must not disturb the others.
    if (y_shape[0] > 1) std::fill(values.end() - static_cast<std::ptrdiff_t>(sample), values.end(), 0.0f);
  }
  const BatchTypes types{{"in", x.type()}, {"up", up.type()}};
  Program program(std::move(graph), types, runtime);
  for (Layer& layer : program.layers) layer.formats = f;
  randomize(parameter(program, "node.weight").value, 3);
  const bool has_bias = program.parameters.size() > 2;
  if (has_bias) randomize(parameter(program, "node.bias").value, 4);

  Record seen;
  program.after_node = [&](const Plan& plan, const Node& node) { seen.take(program, plan, node); };
  Plan& plan = program.plan(types, Phase::train);
  std::vector<float> factors;
  if (f.grad_input.data.channel_factors) {
    for (std::int64_t k = 0; k < y_shape.back(); ++k)
      factors.push_back(std::exp2(-0.7f * static_cast<float>(k * 3 % 8)));
    for (int i = 0; i < program.slots.size(); ++i)
      if (program.slots[i].format.channel_factors) program.slots[i].channel_factor = factors;
  }
  program.forward(plan, {{"in", x.data()}, {"up", up.data()}});
  program.backward(plan, 1);

  const auto weights = parameter(program, "node.weight").value.as<float>();
  const std::vector<float> w(weights.begin(), weights.end());
  const IntegerOperand w_forward = quantize_weights_again(w, seen.shape, f.forward.other, true);
  std::vector<float> folded = w;
  for (std::size_t i = 0; i < w.size() && !factors.empty(); ++i)
    folded[i] *= factors[i / (w.size() / factors.size())];
  const IntegerOperand w_backward = quantize_weights_again(folded, seen.shape, f.grad_input.other, false);
  std::vector<float> x_values(x.as<float>().begin(), x.as<float>().end());
  if (rectified)
    for (float& v : x_values) v = std::max(v, 0.0f);
  std::vector<float> g_values(up.as<float>().begin(), up.as<float>().end());
  for (std::size_t i = 0; i < g_values.size() && !factors.empty(); ++i)
    g_values[i] *= 1 / factors[i % factors.size()];
  const kernels::ConvShape& p = seen.shape;
  check_rounding(x_values, seen.a[0], f.forward.data, p.n, p.c);
  check_rounding(g_values, seen.a[1], f.grad_input.data, p.n, p.k);
  check_rounding(g_values, seen.grad_weight_b, f.grad_weight.other, p.n, p.k);
  if (!seen.grad_weight_b.classes.empty())
    check_classes(g_values, seen.grad_weight_b, static_cast<float>(quantized_max(f.grad_weight.other.bits)));
  if (rectified) CHECK(*std::max_element(seen.a[0].values.begin(), seen.a[0].values.end()) == 255);
  if (f.grad_weight.other.grid == IntegerGrid::odd)
    for (const std::int64_t q : seen.grad_weight_b.values) REQUIRE(q % 2 != 0);
  Expected expected = expect(seen, w_forward, w_backward, factors,
                             has_bias ? parameter(program, "node.bias").value.as<float>().data() : nullptr);
  if (f.forward.other.tanh) {  // the gradient passes through tanh(w) / max
    const float largest = std::tanh(std::fabs(
        *std::max_element(w.begin(), w.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); })));
    for (std::size_t i = 0; i < w.size(); ++i) {
      const float t = std::tanh(w[i]);
      expected.dw[i] *= (1 - t * t) / largest;
    }
  }
  CHECK(mismatches(seen.y, expected.y) == 0);
  CHECK(mismatches(seen.dx, expected.dx) == 0);
  const auto dw = parameter(program, "node.weight").gradient.as<float>();
  CHECK(mismatches({dw.begin(), dw.end()}, expected.dw) == 0);
}

}  // namespace

TEST_CASE("integer products through the program equal the exact sums times both scales") {
  register_test_ops();
  const Case cases[] = {
      {"conv2d {out: 6, kernel: 3, pad: 1}", {3, 7, 6, 5}},
      {"conv2d {out: 5, kernel: 3, stride: 2, pad: 1, bias: true}", {2, 8, 9, 4}},
      {"conv2d {out: 7, kernel: 1}", {3, 4, 5, 9}},
      {"conv2d {out: 4, kernel: 7, stride: 2, pad: 3}", {2, 15, 14, 3}},
      {"conv2d {out: 3, kernel: [3, 2], stride: [2, 1], pad: [1, 0], dilation: [1, 2]}", {2, 9, 8, 3}},
      {"conv2d {out: 6, kernel: 3, pad: 1, groups: 2}", {2, 6, 6, 4}},
      {"conv2d {out: 5, kernel: 3, pad: 1, groups: 5}", {2, 7, 7, 5}},
      {"conv2d {out: 5, kernel: 3, stride: 2, pad: 1, groups: 5}", {2, 7, 8, 5}},
      {"linear {out: 6}", {5, 7}},
      {"linear {out: 11, bias: false}", {2, 3, 8}}};
  for (kernels::Isa isa : {kernels::Isa::ref, kernels::Isa::avx2, kernels::Isa::avx512vnni}) {
    if (!kernels::isa_supported(isa)) {
      WARN("this CPU lacks " << kernels::isa_name(isa) << ": not tested");
      continue;
    }
    const kernels::Isa before = kernels::active_isa();
    kernels::force_isa(isa);
    for (const Case& c : cases)
      for (int axes = 0; axes < 4; ++axes) {
        INFO(kernels::isa_name(isa) << " " << c.node << " data axis " << axes % 2 << " other axis "
                                    << axes / 2);
        check_case(c, formats(axes % 2, axes / 2), 1 + axes % 3);
      }
    for (const Case& c : cases)
      for (const auto& [w, x, g] : {std::array{8, 8, 16}, {16, 8, 8}, {8, 16, 24}, {24, 16, 12}}) {
        INFO(kernels::isa_name(isa) << " " << c.node << " bits of W, X, G " << w << " " << x << " " << g);
        check_case(c, widths(w, x, g), 2);
      }
    for (const Case& c : cases)
      for (int bits : {8, 16, 5}) {
        INFO(kernels::isa_name(isa) << " " << c.node << " scale classes, gradients of " << bits << " bits");
        check_case(c, class_formats(bits), 2);
      }
    for (const Case& c : cases) {
      INFO(kernels::isa_name(isa) << " " << c.node << " scale classes and factors per channel");
      check_case(c, factor_formats(), 2);
    }
    for (const Case& c : cases) {
      INFO(kernels::isa_name(isa) << " " << c.node << " odd integers");
      check_case(c, dorefa_formats(), 2);
    }
    for (const Case& c : cases) {
      INFO(kernels::isa_name(isa) << " " << c.node << " fixed units, 8 bits and a flag");
      check_case(c, wageubn_formats(), 2);
    }
    kernels::force_isa(before);
  }
}
