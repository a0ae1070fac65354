// Range batch normalization (Banner et al., "Scalable methods for 8-bit training of neural networks", NeurIPS
// 2018): the range of the values stands for their deviation. The M values of a channel are cut into K chunks,
//   R = mean over chunks of (max - min),   r = 1 / (f R + eps),   z = gamma (y - mean) r + beta,
//   f = 0.175 (1 + sqrt(pi ln 4)) / sqrt(2 ln(M / K))             as in the authors' code
//   dbeta = sum dz,   dgamma = r sum dz (y - mean)
//   dy = gamma r (dz - dbeta / M), and -+ gamma r dgamma f / K at the largest and smallest value of each
//   chunk
// The first of equal values counts. Sums are FP64, chunk after chunk. Evaluation uses running statistics.
#include "ops/range_norm.h"

#include <algorithm>

#include "core/check.h"
#include "ops/common.h"

namespace octavo {
namespace {

enum Parameters { gamma, beta };
enum States { running_mean, running_deviation };
enum Saved { saved_mean, saved_r, saved_extremes };

std::shared_ptr<const Attributes> parse(AttrReader& reader) {
  auto norm = std::make_shared<RangeNorm>();
  norm->momentum = reader.number("momentum", 0.1, 0, 1);
  norm->eps = reader.number("eps", 1e-5, 1e-12, 1);
  norm->chunks = reader.integer("chunks", 16, 1, 1 << 16);
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

using Sizes = RangeNormSizes;

Shape channels(const Signature& signature) { return {signature.inputs[0].shape.back()}; }

std::vector<ParameterSpec> parameters(const Signature& signature) {
  const double start = signature.as<RangeNorm>().zero_gamma ? 0 : 1;
  return {{"weight", channels(signature), {.value = start}, true}, {"bias", channels(signature), {}, true}};
}

std::vector<StateSpec> states(const Signature& signature) {
  return {{"running_mean", channels(signature), 0}, {"running_deviation", channels(signature), 1}};
}

/// Mean and r per channel; the rows of the largest and the smallest value of each chunk and channel.
std::vector<TensorType> saved(const Signature& signature) {
  const Sizes sizes(signature);
  return {{DType::f32, channels(signature)},
          {DType::f32, channels(signature)},
          {DType::i64, Shape({2, sizes.chunks, sizes.c})}};
}

/// body(first row, end row) over fixed blocks of rows.
void each_block(const OpContext& context, const Sizes& sizes,
                const std::function<void(std::int64_t, std::int64_t)>& body) {
  const std::int64_t block = std::max<std::int64_t>(1, (1 << 14) / sizes.c);
  context.parallel((sizes.rows + block - 1) / block,
                   [&](std::int64_t i) { body(i * block, std::min(sizes.rows, (i + 1) * block)); });
}

/// Sums of a chunk go to sum[chunk, c]; its extremes to `top` and `bottom` [chunk, c].
void look_at_chunk(const Sizes& sizes, const float* x, std::int64_t chunk, double* sum, std::int64_t* top,
                   std::int64_t* bottom) {
  const std::int64_t first = sizes.begin(chunk), at = chunk * sizes.c;
  for (std::int64_t k = 0; k < sizes.c; ++k) sum[at + k] = 0, top[at + k] = bottom[at + k] = first;
  for (std::int64_t row = first; row < sizes.begin(chunk + 1); ++row)
    for (std::int64_t k = 0; k < sizes.c; ++k) {
      const float v = x[row * sizes.c + k];
      sum[at + k] += v;
      if (v > x[top[at + k] * sizes.c + k]) top[at + k] = row;
      if (v < x[bottom[at + k] * sizes.c + k]) bottom[at + k] = row;
    }
}

/// Mean and f R of the batch, per channel.
void batch_statistics(OpContext& context, const Sizes& sizes, float* mean, double* deviation) {
  const auto* x = context.in<float>(0);
  std::vector<std::int64_t> own;
  auto* top = static_cast<std::int64_t*>(context.saved(saved_extremes));
  if (top == nullptr) {
    own.resize(static_cast<std::size_t>(2 * sizes.chunks * sizes.c));
    top = own.data();
  }
  std::int64_t* bottom = top + sizes.chunks * sizes.c;
  std::vector<double> sums(static_cast<std::size_t>(sizes.chunks * sizes.c));
  context.parallel(sizes.chunks,
                   [&](std::int64_t chunk) { look_at_chunk(sizes, x, chunk, sums.data(), top, bottom); });
  for (std::int64_t k = 0; k < sizes.c; ++k) {
    double sum = 0, ranges = 0;
    for (std::int64_t i = k; i < sizes.chunks * sizes.c; i += sizes.c) {
      sum += sums[static_cast<std::size_t>(i)];
      ranges += static_cast<double>(x[top[i] * sizes.c + k]) - x[bottom[i] * sizes.c + k];
    }
    mean[k] = static_cast<float>(sum / static_cast<double>(sizes.rows));
    deviation[k] = sizes.factor() * ranges / static_cast<double>(sizes.chunks);
  }
}

void update_running(OpContext& context, const Sizes& sizes, const float* mean, const double* deviation) {
  const auto momentum = static_cast<float>(context.signature().as<RangeNorm>().momentum);
  float *kept_mean = context.state(running_mean), *kept = context.state(running_deviation);
  for (std::int64_t k = 0; k < sizes.c; ++k) {
    kept_mean[k] += momentum * (mean[k] - kept_mean[k]);
    kept[k] += momentum * (static_cast<float>(deviation[k]) - kept[k]);
  }
}

/// Mean and r of the batch, or of evaluation; a second run finds those of the first.
void find_scales(OpContext& context, const Sizes& sizes, float* mean, float* r) {
  const auto c = static_cast<std::size_t>(sizes.c);
  std::vector<double> deviation(c);
  if (context.signature().phase == Phase::eval) {
    std::copy_n(context.state(running_mean), c, mean);
    std::copy_n(context.state(running_deviation), c, deviation.begin());
  } else {
    if (context.repeated() && context.saved(saved_mean) != nullptr) return;
    batch_statistics(context, sizes, mean, deviation.data());
    if (!context.repeated()) update_running(context, sizes, mean, deviation.data());
  }
  const double eps = context.signature().as<RangeNorm>().eps;
  for (std::size_t k = 0; k < c; ++k) r[k] = static_cast<float>(1 / (deviation[k] + eps));
}

void forward(OpContext& context) {
  const Sizes sizes(context.signature());
  const auto c = static_cast<std::size_t>(sizes.c);
  std::vector<float> own(2 * c), a(c);
  auto *mean = static_cast<float*>(context.saved(saved_mean)),
       *r = static_cast<float*>(context.saved(saved_r));
  if (mean == nullptr) mean = own.data(), r = own.data() + c;
  find_scales(context, sizes, mean, r);
  for (std::size_t k = 0; k < c; ++k) a[k] = context.parameter(gamma)[k] * r[k];
  const auto* x = context.in<float>(0);
  const float* shift = context.parameter(beta);
  auto* z = context.out<float>(0);
  each_block(context, sizes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * sizes.c; i < end * sizes.c; i += sizes.c)
      for (std::size_t k = 0; k < c; ++k) {
        const auto at = static_cast<std::size_t>(i) + k;
        z[at] = a[k] * (x[at] - mean[k]) + shift[k];
      }
  });
}

struct GradientSums {
  std::vector<double> dz, dz_y;  // of dz and dz (y - mean), per channel
};

GradientSums sum_gradients(OpContext& context, const Sizes& sizes, const float* mean) {
  const auto c = static_cast<std::size_t>(sizes.c);
  const auto *x = context.in<float>(0), *dz = context.grad_output(0);
  std::vector<double> parts(static_cast<std::size_t>(sizes.chunks) * 2 * c);
  context.parallel(sizes.chunks, [&](std::int64_t chunk) {
    double* sums = parts.data() + static_cast<std::size_t>(chunk) * 2 * c;
    for (std::int64_t row = sizes.begin(chunk); row < sizes.begin(chunk + 1); ++row)
      for (std::size_t k = 0; k < c; ++k) {
        const auto at = static_cast<std::size_t>(row) * c + k;
        sums[k] += dz[at];
        sums[c + k] += static_cast<double>(dz[at]) * (x[at] - mean[k]);
      }
  });
  GradientSums sums{std::vector<double>(c), std::vector<double>(c)};
  for (std::size_t i = 0; i < parts.size(); i += 2 * c)
    for (std::size_t k = 0; k < c; ++k) sums.dz[k] += parts[i + k], sums.dz_y[k] += parts[i + c + k];
  return sums;
}

void backward(OpContext& context) {
  const Sizes sizes(context.signature());
  const auto c = static_cast<std::size_t>(sizes.c);
  const auto *mean = static_cast<const float*>(context.saved(saved_mean)),
             *r = static_cast<const float*>(context.saved(saved_r)), *scale = context.parameter(gamma),
             *dz = context.grad_output(0);
  const GradientSums sums = sum_gradients(context, sizes, mean);
  float *grad_gamma = context.grad_parameter(gamma), *grad_beta = context.grad_parameter(beta);
  for (std::size_t k = 0; grad_gamma != nullptr && k < c; ++k) {
    grad_gamma[k] =
        static_cast<float>(r[k] * sums.dz_y[k]) + (context.accumulate_parameter(gamma) ? grad_gamma[k] : 0);
    grad_beta[k] = static_cast<float>(sums.dz[k]) + (context.accumulate_parameter(beta) ? grad_beta[k] : 0);
  }
  float* dx = context.grad_input(0);
  if (dx == nullptr) return;
  std::vector<float> a(c), d(c);
  for (std::size_t k = 0; k < c; ++k) {
    a[k] = scale[k] * r[k];
    d[k] = static_cast<float>(-double(a[k]) * sums.dz[k] / static_cast<double>(sizes.rows));
  }
  each_block(context, sizes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * sizes.c; i < end * sizes.c; i += sizes.c)
      for (std::size_t k = 0; k < c; ++k) {
        const auto at = static_cast<std::size_t>(i) + k;
        dx[at] = a[k] * dz[at] + d[k];
      }
  });
  const auto* top = static_cast<const std::int64_t*>(context.saved(saved_extremes));
  const std::int64_t* bottom = top + sizes.chunks * sizes.c;
  for (std::int64_t i = 0; i < sizes.chunks * sizes.c; ++i) {
    const auto k = static_cast<std::size_t>(i % sizes.c);
    const auto slope = static_cast<float>(double(a[k]) * r[k] * sums.dz_y[k] * sizes.factor() /
                                          static_cast<double>(sizes.chunks));
    dx[top[i] * sizes.c + static_cast<std::int64_t>(k)] -= slope;
    dx[bottom[i] * sizes.c + static_cast<std::int64_t>(k)] += slope;
  }
}

}  // namespace

OpDef range_batch_norm_op() {
  OpDef op;
  op.type = "range_batch_norm";
  op.help =
      "batch normalization by the range of the values: momentum 0.1, eps 1e-5, chunks 16, init one|zero";
  op.parse = parse;
  op.infer = infer;
  op.parameters = parameters;
  op.repeats_from_saved = true;
  op.states = states;
  op.saved = saved;
  op.needs = {.inputs = true, .outputs = false};
  op.forward = forward;
  op.backward = backward;
  return op;
}

}  // namespace octavo
