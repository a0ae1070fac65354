// Pointwise chains: the CPU's list of steps, with what lies between them on the device.
#include <algorithm>

#include "core/check.h"
#include "cuda/batch_norm.h"
#include "cuda/conv_chain.h"
#include "device/run.h"

namespace octavo::device {

using kernels::Step;
using kernels::StepKind;
using kernels::cuda::ChainPass;
using kernels::cuda::ChainStep;
using kernels::cuda::Draws;

namespace {

ChainStep device_step(const Step& step, const Draws* draws) {
  return {.kind = step.kind,
          .a = step.a,
          .b = step.b,
          .d = step.d,
          .x = step.x,
          .out = step.out,
          .bits = step.bits,
          .bits_out = step.bits_out,
          .lo = step.lo,
          .hi = step.hi,
          .draws = draws};
}

bool leaves_something(const ChainStep& step) {
  return step.kind == StepKind::store || step.kind == StepKind::store_bits;
}

}  // namespace

DeviceChain::DeviceChain(Run& run, const Geometry& geometry, kernels::FloatSource x, SlotMemory* tail)
    : run_(run), geometry_(geometry), builder_(run.program.runtime(), geometry, x), tail_(tail) {}

void DeviceChain::add_member(const Node& member) {
  if (const DeviceChainOp* op = find_chain_op(member.op->type)) {
    (member.pass == Pass::forward ? op->forward : op->backward)(*this, member);
  } else {
    NodeRun no_kernels;
    NodeContext context(run_.program, run_.plan, member, no_kernels);
    if (member.pass == Pass::forward)
      member.op->chain_forward(context, builder_);
    else
      member.op->chain_backward(context, builder_);
  }
  draws_.resize(builder_.chain().steps.size(), run_.memory.draws(member.stream));
}

DeviceChain::Steps DeviceChain::device_steps() const {
  Steps steps;
  const std::span<const Step> all = builder_.chain().steps;
  for (std::size_t i = 0; i < all.size(); ++i)
    steps.push_back(device_step(all[i], i < draws_.size() ? draws_[i] : nullptr));
  return steps;
}

ChainPass DeviceChain::pass(const Steps& steps, bool looking) const {
  ChainPass pass;
  pass.layout = layout_of(geometry_);
  pass.x = builder_.first_pixel();
  for (const ChainStep& step : steps) {
    if (looking && leaves_something(step)) continue;
    require(pass.step_count < kernels::cuda::most_chain_steps, Errc::config, "a chain of more than ",
            kernels::cuda::most_chain_steps, " steps; use train.device=cpu");
    pass.steps[pass.step_count++] = step;
  }
  return pass;
}

void DeviceChain::sum(ChainPass& pass, const Sums& sums) {
  pass.sum_v = sums.v;
  pass.sum_vx = sums.vx;
  pass.scratch = run_.scratch.take<std::byte>(kernels::cuda::chain_scratch_bytes(pass));
  kernels::cuda::run_chain(pass, run_.stream);
}

bool DeviceChain::watches_samples() const {
  return tail_ != nullptr && has_sample_scales(run_.slot(*tail_).format.granularity);
}

DeviceChain::Sums DeviceChain::sums(kernels::FloatSource x, const float* pivot, const float* looked) {
  const Sums sums{run_.scratch.take<double>(channels()), run_.scratch.take<double>(channels())};
  Steps steps = device_steps();
  steps.push_back({.kind = StepKind::sums, .b = pivot, .x = x});
  if (looked != nullptr) steps.push_back({.kind = StepKind::scale_shift, .a = looked});
  ChainPass whole = pass(steps, true);
  if (looked != nullptr) {
    clear_maxima(run_, *tail_);
    whole.max_bits = tail_->max_bits;
    whole.max_granularity = kernels::Granularity::sample;
    bounded_step_ = builder_.chain().steps.size();
    bounded_ = true;
  }
  sum(whole, sums);
  return sums;
}

DeviceChain::Sums DeviceChain::shifted_squares(const float* shift) {
  const Sums sums{run_.scratch.take<double>(channels()), run_.scratch.take<double>(channels())};
  Steps steps = device_steps();
  steps.push_back({.kind = StepKind::scale_shift, .b = shift});
  steps.push_back({.kind = StepKind::sums});
  ChainPass whole = pass(steps, true);
  sum(whole, sums);
  return sums;
}

const kernels::cuda::ConvSums* DeviceChain::told_sums() const {
  return builder_.chain().steps.empty() ? told_ : nullptr;
}

bool DeviceChain::knows_samples() const {
  return bounded_ && bounded_at_end(builder_.chain().steps, bounded_step_);
}

void DeviceChain::run_first_product() {
  if (product_ >= 0) run_product(run_, static_cast<std::size_t>(product_));
  product_ = -1;
}

// The product with it, where its epilogue takes it; then the batch copy is made of the pixel copy.
void DeviceChain::run_tail(const ChainPass& tail) {
  ChainPass pixels = tail;
  pixels.batch_copy = nullptr;
  const auto product = static_cast<std::size_t>(product_);
  constexpr auto forward = static_cast<std::size_t>(LayerProduct::forward);
  if (product_ < 0 || !kernels::cuda::refuse_chain(*run_.memory.product(product, forward).conv,
                                                   kernels::cuda::active_family(), pixels)
                           .empty()) {
    run_first_product();
    return kernels::cuda::run_chain(tail, run_.stream);
  }
  run_product_with(run_, product, pixels);
  product_ = -1;
  if (tail.batch_copy == nullptr) return;
  kernels::cuda::turn_image({.layout = tail.layout,
                             .planes = tail.rule.planes,
                             .pixel_copy = tail.pixel_copy,
                             .batch_copy = tail.batch_copy},
                            run_.stream);
}

void DeviceChain::finish(const Node& node) {
  Steps steps = device_steps();
  if (tail_ != nullptr) return quantize(node, std::move(steps));
  run_first_product();
  kernels::cuda::run_chain(pass(steps, false), run_.stream);
}

}  // namespace octavo::device
