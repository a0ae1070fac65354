#include "lab/probe.h"

#include <algorithm>
#include <cmath>

#include "conv_f32.h"
#include "exec/quantize.h"
#include "graph/quantize.h"
#include "octavo/tensor.h"
#include "precision/controller.h"

namespace octavo {
namespace {

constexpr int steps_before = 3;  // a policy may come to its choice by steps

Shape weight_shape(const ProductShape& p) { return {p.k, p.r, p.s, p.c / p.groups}; }

std::int64_t output_size(const ProductShape& p, LayerProduct which) {
  if (which == LayerProduct::forward) return p.n * p.ho * p.wo * p.k;
  return which == LayerProduct::grad_input ? p.n * p.h * p.w * p.c : weight_shape(p).elements();
}

/// The integer products of one layer with one policy: its slots live as long as the probe.
class Probe {
 public:
  Probe(Runtime& runtime, const PrecisionSettings& settings, const LayerTensors& layer)
      : runtime_(runtime), layer_(layer), layers_{{layer.info}} {
    PrecisionSettings whole = settings;
    whole.keep_fp32 = {};  // a policy's exemptions are for training: here every layer is looked at
    controller_ = std::make_unique<Controller>(whole, layers_, slots_, steps_per_epoch);
    for (LayerProduct which : products) add_slots(which);  // before a step asks what they want to see
  }

  void step() {
    controller_->begin_step(runtime_.step);
    for (LayerProduct which : products) run(which);
    controller_->end_step(runtime_.step, {});
    ++runtime_.step;
    fresh_.clear();
  }

  LayerErrors errors(const LayerReference& reference) const {
    LayerErrors errors;
    for (std::size_t p = 0; p < 3; ++p)
      if (!results_[p].empty()) errors.products[p] = product_error(results_[p], reference.products[p]);
    for (int i = 0; i < slots_.size(); ++i) {
      int& bits = errors.bits[static_cast<std::size_t>(slots_[i].operand)];
      bits = std::max(bits, slots_[i].format.bits);
    }
    errors.learning_rate_factor = controller_->learning_rate_factor(0);
    return errors;
  }

 private:
  static constexpr std::int64_t steps_per_epoch = 1000;
  static constexpr LayerProduct products[] = {LayerProduct::forward, LayerProduct::grad_input,
                                              LayerProduct::grad_weight};

  const ProductFormat& format(LayerProduct which) const {
    const LayerFormats& formats = layers_[0].formats;
    if (which == LayerProduct::forward) return formats.forward;
    return which == LayerProduct::grad_input ? formats.grad_input : formats.grad_weight;
  }

  void add_slots(LayerProduct which) {
    if (!format(which).integer) return;
    const bool by_gradient = which == LayerProduct::grad_input;
    data_slot(by_gradient ? Operand::gradient : Operand::activation, format(which).data);
    if (which == LayerProduct::grad_weight)
      data_slot(Operand::gradient, format(which).other);
    else
      weight_slot(format(which).other, which);
  }

  void run(LayerProduct which) {
    if (!format(which).integer) return;
    runtime_.memory.clear();
    const kernels::ConvShape shape = kernel_shape(layer_.shape);
    const auto product = static_cast<kernels::Product>(which);
    const kernels::ConvS8Candidate& candidate = kernels::find_conv_s8(shape, product);
    const bool by_gradient = which == LayerProduct::grad_input;
    Slot& a = data_slot(by_gradient ? Operand::gradient : Operand::activation, format(which).data);
    kernels::View a_view = candidate.a_view(shape, product), b_view;
    if (a.format.unsigned_ok) a_view.zero = 0;
    const Tensor a_integers = quantize_data(a, a_view);
    Tensor b_integers;
    Slot* b = nullptr;
    std::unique_ptr<kernels::ConvS8> kernel;
    if (which == LayerProduct::grad_weight) {
      b = &data_slot(Operand::gradient, format(which).other);
      b_view = candidate.b_view(shape, product);
      b_integers = quantize_data(*b, b_view);
      kernel = candidate.make(shape, product, a_view, b_view);
    } else {
      b = &weight_slot(format(which).other, which);
      kernel = candidate.make(shape, product, a_view, b_view);
      b_integers = quantize_packed(*b, *kernel, format(which).fold_channels ? &a : nullptr);
    }
    std::vector<float>& out = results_[static_cast<std::size_t>(which)];
    out.resize(static_cast<std::size_t>(output_size(layer_.shape, which)));
    run_integer_product(runtime_, {which, *kernel, a, *b, a_integers.data(), b_integers.data(), nullptr,
                                   out.data(), false, format(which).fold_channels});
  }

  Slot& data_slot(Operand operand, SlotFormat format) {
    if (operand == Operand::gradient || !layer_.x_non_negative) format.unsigned_ok = false;
    return slots_[slots_.find_or_add(operand, layer_.info.name, format, layer_.info.name,
                                     layer_.info.name + ".grad_weight")];
  }

  Slot& weight_slot(const SlotFormat& format, LayerProduct which) {
    const bool by_output = format.granularity == ScaleGranularity::channel && which == LayerProduct::forward;
    Slot& slot =
        slots_[slots_.find_or_add(Operand::weight, layer_.info.name + (by_output ? " by output" : ""), format,
                                  layer_.info.name, layer_.info.name + ".weight")];
    slot.per_output_channel = by_output;
    return slot;
  }

  /// A slot counts its edge once per step, however many products read it.
  bool first_use(const Slot& slot) {
    const bool known = std::find(fresh_.begin(), fresh_.end(), &slot) != fresh_.end();
    if (!known) fresh_.push_back(&slot);
    return !known;
  }

  Tensor quantize_data(Slot& slot, const kernels::View& view) {
    const ProductShape& p = layer_.shape;
    const bool gradient = slot.operand == Operand::gradient;
    kernels::Chain chain;
    chain.n = p.n;
    chain.h = gradient ? p.ho : p.h;
    chain.w = gradient ? p.wo : p.w;
    chain.c = gradient ? p.k : p.c;
    chain.x = gradient ? layer_.g : layer_.x;
    Tensor integers = Tensor::empty({kernels::planes_bytes(view, plane_count(slot.format.bits))}, DType::u8);
    const Slot before = slot;
    const bool counted = first_use(slot);
    void* const target = integers.data();
    quantize_edge(runtime_, slot, chain, Phase::train, {{&view, 1}, {&target, 1}});
    if (!counted) {
      slot.stats = before.stats;
      slot.elements = before.elements;
      slot.histogram = before.histogram;
    }
    return integers;
  }

  Tensor quantize_packed(Slot& slot, const kernels::ConvS8& kernel, const Slot* folded) {
    const Shape shape = weight_shape(layer_.shape);
    const int planes = plane_count(slot.format.bits);
    Tensor packed = Tensor::empty({planes * kernel.packed_stride()}, DType::u8);
    const kernels::PackTarget target{&kernel, packed.data()};
    const WeightCopy copy{&slot, {&target, 1}, folded ? folded_factors(*folded) : nullptr};
    quantize_weights(runtime_, {layer_.w, shape, layer_.shape.groups}, {&copy, 1});
    return packed;
  }

  Runtime& runtime_;
  const LayerTensors& layer_;
  std::vector<Layer> layers_;
  SlotTable slots_;
  std::unique_ptr<Controller> controller_;
  std::vector<const Slot*> fresh_;
  std::array<std::vector<float>, 3> results_;
};

}  // namespace

LayerReference reference_products(Runtime& runtime, const LayerTensors& layer) {
  const kernels::ConvShape shape = kernel_shape(layer.shape);
  const auto phase = kernels::ConvPhase::training;
  const auto conv = kernels::find_conv_f32(shape, phase).make(shape, phase);
  LayerReference reference;
  for (std::size_t p = 0; p < 3; ++p)
    reference.products[p].resize(
        static_cast<std::size_t>(output_size(layer.shape, static_cast<LayerProduct>(p))));
  Tensor packed;
  const auto weights = [&](kernels::Product product) -> const void* {
    const std::int64_t bytes = conv->packed_bytes(product);
    if (bytes == 0) return layer.w;
    packed = Tensor::empty({bytes}, DType::u8);
    conv->prepare_weights(product, layer.w, packed.data(), runtime.parallel);
    return packed.data();
  };
  const auto scratch = [&](kernels::Product product) {
    return runtime.scratch(conv->scratch_bytes(product, false));
  };
  using enum kernels::Product;
  conv->forward(layer.x, weights(forward), nullptr, reference.products[0].data(), scratch(forward),
                runtime.parallel);
  conv->grad_input(layer.g, weights(grad_input), reference.products[1].data(), false, scratch(grad_input),
                   runtime.parallel);
  conv->grad_weight(layer.x, layer.g, reference.products[2].data(), false, scratch(grad_weight),
                    runtime.parallel);
  return reference;
}

ProductError product_error(std::span<const float> q, std::span<const float> f) {
  double qq = 0, ff = 0, qf = 0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    qq += double{q[i]} * q[i];
    ff += double{f[i]} * f[i];
    qf += double{q[i]} * f[i];
  }
  if (ff == 0) return {};
  return {qq > 0 ? std::max(0.0, 1 - qf / std::sqrt(qq * ff)) : 1, std::fabs(qf / ff - 1)};
}

LayerErrors probe_layer(Runtime& runtime, const PrecisionSettings& settings, const LayerTensors& layer,
                        const LayerReference& reference) {
  const std::int64_t step = runtime.step;
  runtime.step = 0;  // of the probe: policies look at everything in their first step
  Probe probe(runtime, settings, layer);
  for (int i = 0; i < steps_before + 1; ++i) probe.step();
  runtime.step = step;
  return probe.errors(reference);
}

}  // namespace octavo
