// Softmax with cross entropy and label smoothing s (Szegedy et al. 2016). For logits x [N, K] and labels [N]:
//   q[k] = (1 - s) [k == label] + s / K,   loss = -1/N sum_n sum_k q[k] log p[k],   p = softmax(x)
//   dx = (p - q) dloss / N
// Outputs: loss [] (the mean over the batch, summed in FP64). p is kept for backward.
#include <cmath>

#include "core/check.h"
#include "ops/attributes.h"
#include "ops/common.h"

namespace octavo {
namespace {

std::vector<TensorType> infer(const Signature& signature) {
  const TensorType &x = signature.inputs[0], &label = signature.inputs[1];
  require(x.shape.rank() == 2 && x.dtype == DType::f32, Errc::config, "expects logits [N, K] of f32, got ",
          x.shape.str());
  require(label.dtype == DType::i64 && label.shape == Shape({x.shape[0]}), Errc::config, "expects labels [",
          x.shape[0], "] of i64 for logits ", x.shape.str(), ", got ", label.shape.str(), " of ",
          dtype_name(label.dtype));
  return {{DType::f32, {}}};
}

// p = softmax of one row; returns -sum q log p.
double row_loss(const float* x, std::int64_t k, std::int64_t label, double smoothing, float* p) {
  float largest = x[0];
  for (std::int64_t i = 1; i < k; ++i) largest = std::max(largest, x[i]);
  double sum = 0, mean = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const double e = std::exp(static_cast<double>(x[i]) - largest);
    p[i] = static_cast<float>(e);
    sum += e;
    mean += static_cast<double>(x[i]) - largest;
  }
  for (std::int64_t i = 0; i < k; ++i) p[i] = static_cast<float>(p[i] / sum);
  const double log_sum = std::log(sum);
  return log_sum - (1 - smoothing) * (static_cast<double>(x[label]) - largest) -
         smoothing * mean / static_cast<double>(k);
}

void forward(OpContext& context) {
  const Shape& shape = context.signature().inputs[0].shape;
  const std::int64_t n = shape[0], k = shape[1];
  const double smoothing = context.signature().as<CrossEntropy>().label_smoothing;
  const auto* labels = context.in<std::int64_t>(1);
  auto* p = static_cast<float*>(context.saved(0));
  std::vector<float> unused(static_cast<std::size_t>(p ? 0 : k));
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    require(labels[i] >= 0 && labels[i] < k, Errc::data, "label ", labels[i], " of sample ", i,
            " in the batch is outside the model's ", k, " classes");
    total += row_loss(context.in<float>(0) + i * k, k, labels[i], smoothing, p ? p + i * k : unused.data());
  }
  *context.out<float>(0) = static_cast<float>(total / static_cast<double>(n));
}

void backward(OpContext& context) {
  const Shape& shape = context.signature().inputs[0].shape;
  const std::int64_t n = shape[0], k = shape[1];
  const auto smoothing = static_cast<float>(context.signature().as<CrossEntropy>().label_smoothing);
  const auto* labels = context.in<std::int64_t>(1);
  const auto* p = static_cast<const float*>(context.saved(0));
  const float factor = *context.grad_output(0) / static_cast<float>(n);
  float* out = context.grad_input(0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < k; ++j) {
      const float target = (j == labels[i] ? 1 - smoothing : 0) + smoothing / static_cast<float>(k);
      out[i * k + j] = (p[i * k + j] - target) * factor;
    }
}

}  // namespace

OpDef softmax_cross_entropy_op() {
  OpDef op;
  op.type = "softmax_cross_entropy";
  op.help = "classification loss: from [logits, label], label_smoothing 0";
  op.min_inputs = op.max_inputs = 2;
  op.parse = [](AttrReader& reader) -> std::shared_ptr<const Attributes> {
    auto loss = std::make_shared<CrossEntropy>();
    loss->label_smoothing = reader.number("label_smoothing", 0, 0, 0.999);
    return loss;
  };
  op.infer = infer;
  op.saved = [](const Signature& s) { return std::vector<TensorType>{{DType::f32, s.inputs[0].shape}}; };
  op.forward = forward;
  op.backward = backward;
  op.needs = {.inputs = true, .outputs = false};
  op.is_loss = true;
  return op;
}

}  // namespace octavo
