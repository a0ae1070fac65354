// Batch normalization over all axes but the last (Ioffe and Szegedy 2015). With M values per channel,
//   z = gamma (y - mean) / sqrt(var + eps) + beta,          var biased in the batch, unbiased in running_var
//   dbeta = sum dz,   dgamma = r sum dz (y - mean),   r = 1 / sqrt(var + eps)
//   dy = gamma r (dz - dbeta / M - (y - mean) r dgamma / M)
// Sums are FP32 inside fixed pixel tiles and FP64 across them. Evaluation uses the running statistics.
#include <cmath>

#include "core/check.h"
#include "exec/chain.h"
#include "exec/context.h"
#include "ops/attributes.h"
#include "ops/common.h"

namespace octavo {
namespace {

enum Parameters { gamma, beta };
enum States { running_mean, running_var };
enum Saved { saved_mean, saved_r };

std::shared_ptr<const Attributes> parse(AttrReader& reader) {
  auto norm = std::make_shared<BatchNorm>();
  norm->momentum = reader.number("momentum", 0.1, 0, 1);
  norm->eps = reader.number("eps", 1e-5, 1e-12, 1);
  static constexpr std::array<std::string_view, 2> names{"one", "zero"};
  norm->zero_gamma = reader.choice("init", names, "one") == "zero";
  return norm;
}

std::vector<TensorType> infer(const Signature& signature) {
  const TensorType& x = signature.inputs[0];
  require(x.shape.rank() >= 2 && x.dtype == DType::f32, Errc::config, "expects [N, ..., C] of f32, got ",
          x.shape.str());
  return {x};
}

Shape channels(const Signature& signature) { return {signature.inputs[0].shape.back()}; }

std::vector<ParameterSpec> parameters(const Signature& signature) {
  const double start = signature.as<BatchNorm>().zero_gamma ? 0 : 1;
  return {{"weight", channels(signature), {.value = start}, true}, {"bias", channels(signature), {}, true}};
}

std::vector<StateSpec> states(const Signature& signature) {
  return {{"running_mean", channels(signature), 0}, {"running_var", channels(signature), 1}};
}

std::vector<TensorType> saved(const Signature& signature) {
  return {{DType::f32, channels(signature)}, {DType::f32, channels(signature)}};
}

// Mean and biased variance of the batch; the first pixel as pivot keeps the squares small.
void batch_statistics(ChainBuilder& chain, float* mean, double* variance) {
  const std::int64_t c = chain.channels();
  float *one = chain.channel_vector(), *minus_pivot = chain.channel_vector();
  for (std::int64_t i = 0; i < c; ++i) {
    one[i] = 1;
    minus_pivot[i] = -chain.first_pixel()[i];
  }
  const ChainBuilder::Sums& sums = chain.shifted_squares(one, minus_pivot);
  const double m = static_cast<double>(chain.pixels());
  for (std::int64_t i = 0; i < c; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double shifted = sums.v[at] / m;
    mean[i] = static_cast<float>(shifted - minus_pivot[i]);
    variance[i] = std::max(0.0, sums.vx[at] / m - shifted * shifted);
  }
}

void update_running(OpContext& context, const float* mean, const double* variance, std::int64_t c, double m) {
  const auto momentum = static_cast<float>(context.signature().as<BatchNorm>().momentum);
  const double unbias = m > 1 ? m / (m - 1) : 1;
  float *kept_mean = context.state(running_mean), *kept_var = context.state(running_var);
  for (std::int64_t i = 0; i < c; ++i) {
    kept_mean[i] += momentum * (mean[i] - kept_mean[i]);
    kept_var[i] += momentum * (static_cast<float>(variance[i] * unbias) - kept_var[i]);
  }
}

void chain_forward(OpContext& context, ChainBuilder& chain) {
  const double eps = context.signature().as<BatchNorm>().eps;
  const std::int64_t c = chain.channels();
  const float *scale = context.parameter(gamma), *shift = context.parameter(beta);
  float *a = chain.channel_vector(), *b = chain.channel_vector();
  if (context.signature().phase == Phase::eval) {
    const float *mean = context.state(running_mean), *variance = context.state(running_var);
    for (std::int64_t i = 0; i < c; ++i) {
      a[i] = scale[i] * static_cast<float>(1 / std::sqrt(variance[i] + eps));
      b[i] = shift[i] - mean[i] * a[i];
    }
    return chain.scale_shift(a, b);
  }
  float *mean = static_cast<float*>(context.saved(saved_mean)),
        *r = static_cast<float*>(context.saved(saved_r));
  const bool known = context.repeated() && mean != nullptr;
  if (mean == nullptr) mean = chain.channel_vector(), r = chain.channel_vector();
  if (!known) {
    auto* variance = chain.channel_values<double>();
    batch_statistics(chain, mean, variance);
    if (!context.repeated()) update_running(context, mean, variance, c, static_cast<double>(chain.pixels()));
    for (std::int64_t i = 0; i < c; ++i) r[i] = static_cast<float>(1 / std::sqrt(variance[i] + eps));
  }
  for (std::int64_t i = 0; i < c; ++i) {
    a[i] = scale[i] * r[i];
    b[i] = shift[i] - mean[i] * a[i];
  }
  chain.scale_shift(a, b);
}

void chain_backward(OpContext& context, ChainBuilder& chain) {
  const std::int64_t c = chain.channels();
  const kernels::FloatSource y = float_input(context, 0);
  const auto *mean = static_cast<const float*>(context.saved(saved_mean)),
             *r = static_cast<const float*>(context.saved(saved_r)), *scale = context.parameter(gamma);
  float *a = chain.channel_vector(), *b = chain.channel_vector(), *d = chain.channel_vector();
  for (std::int64_t i = 0; i < c; ++i) a[i] = scale[i] * r[i];
  const ChainBuilder::Sums& sums = chain.sums(y, mean, a);
  float* margin = chain.watches_samples() ? chain.channel_vector() : nullptr;
  const double m = static_cast<double>(chain.pixels());
  float *grad_gamma = context.grad_parameter(gamma), *grad_beta = context.grad_parameter(beta);
  for (std::int64_t i = 0; i < c; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double dbeta = sums.v[at], dgamma = r[i] * sums.vx[at];
    const double slope = -double(scale[i]) * r[i] * r[i] * dgamma / m;  // of (y - mean)
    b[i] = static_cast<float>(slope);
    d[i] = static_cast<float>(-double(a[i]) * dbeta / m - slope * mean[i]);
    // Of the terms of the means, up to three deviations of y: they are all that a sample with a small
    // gradient of its own gets.
    if (margin != nullptr)
      margin[i] = static_cast<float>(std::fabs(a[i] * dbeta / m) + 3 * std::fabs(slope) / r[i]);
    if (grad_gamma == nullptr) continue;
    grad_gamma[i] = static_cast<float>(dgamma) + (context.accumulate_parameter(gamma) ? grad_gamma[i] : 0);
    grad_beta[i] = static_cast<float>(dbeta) + (context.accumulate_parameter(beta) ? grad_beta[i] : 0);
  }
  if (margin != nullptr) chain.widen(margin);
  chain.combine(a, b, y, d);
}

}  // namespace

OpDef batch_norm_op() {
  OpDef op;
  op.type = "batch_norm";
  op.help = "batch normalization: momentum 0.1, eps 1e-5, init one|zero (gamma)";
  op.parse = parse;
  op.infer = infer;
  op.parameters = parameters;
  op.repeats_from_saved = true;
  op.states = states;
  op.saved = saved;
  op.needs = {.inputs = true, .outputs = false};
  op.sums_first = true;
  op.chain_forward = chain_forward;
  op.chain_backward = chain_backward;
  return op;
}

}  // namespace octavo
