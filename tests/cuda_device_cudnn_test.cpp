// INT8 forward convolutions by cuDNN against kernels/ref, as in cuda_device_test.cpp. Without the library
// they are left out, which a warning says; on the host a stand-in checks every descriptor.
#include "cuda/conv_cudnn.h"
#include "support/catch.h"
#include "support/cuda_device.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

bool left_out() {
  if (!cu::has_cudnn()) WARN("cuDNN is left out of every test: this build does not have it");
  return !cu::has_cudnn();
}

class CudnnProduct {
 public:
  CudnnProduct(const ConvShape& shape, const cu::ConvOptions& options)
      : plan_(cu::plan_conv_cudnn(shape, Product::forward, options)),
        operands_(draw_operands(shape, Product::forward, options.a_planes, options.b_planes)),
        a_(device_a(plan_.value().conv, operands_)),
        b_(device_b(plan_->conv, operands_)),
        scratch_(static_cast<std::size_t>(plan_->workspace_bytes())) {}

  void run(ConvArgs args) {
    args.a = a_.data(), args.b = b_.data(), args.scratch = scratch_.data();
    args.a_planes = plan_->conv.options.a_planes, args.b_planes = plan_->conv.options.b_planes;
    cu::run_conv_cudnn(*plan_, args, nullptr);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_cudnn");
  }
  std::int64_t results() const { return plan_->conv.result_elements(); }
  const PlainOperands& operands() const { return operands_; }

 private:
  std::optional<cu::ConvCudnnPlan> plan_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_, scratch_;
};

std::vector<ConvShape> convolutions() {
  return {conv(2, 7, 8, 6, 12, 3, 3, 1, 1), conv(3, 9, 9, 3, 8, 7, 7, 2, 3),
          conv(2, 9, 8, 20, 4, 3, 2, 2, 1, 2), conv(2, 6, 6, 32, 16, 1, 1), linear(20, 24, 8)};
}

}  // namespace

TEST_CASE("cuDNN gives the reference's integers") {
  if (left_out()) return;
  for (const ConvShape& shape : convolutions())
    for (const cu::ConvOptions& options :
         {cu::ConvOptions{}, cu::ConvOptions{.a_planes = 2, .b_planes = 3}}) {
      INFO(describe(shape) << " planes " << options.a_planes);
      CudnnProduct product(shape, options);
      DeviceArray<std::int64_t> out(static_cast<std::size_t>(product.results()));
      ConvArgs args;
      args.integers = out.data();
      product.run(args);
      CHECK(first_difference(out.values(), reference_sums(shape, Product::forward, product.operands(), false,
                                                          product.results())) == none);
    }
}

TEST_CASE("cuDNN: scales, bias and accumulation give the reference's floats") {
  if (left_out()) return;
  for (const ConvShape& shape : convolutions())
    for (unsigned bits = 0; bits < float_cases; ++bits) {
      INFO(describe(shape) << " " << bits);
      CudnnProduct product(shape, {});
      const FloatCase drawn(shape, Product::forward, product.results(), bits);
      DeviceArray<float> a_scale(drawn.a_scale), b_scale(drawn.b_scale), bias(drawn.bias), out(drawn.start);
      ConvArgs args = drawn.args;
      args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
      if (args.bias != nullptr) args.bias = bias.data();
      args.out = FloatTarget(out.data(), FloatType::f32);
      product.run(args);
      CHECK(first_difference(out.values(), reference_floats(shape, Product::forward, product.operands(),
                                                            drawn.args, drawn.start)) == none);
    }
}

TEST_CASE("what cuDNN does not take in INT8 is told") {
  const auto reason = [](const ConvShape& shape, Product product = Product::forward,
                         const cu::ConvOptions& options = {}) {
    return cu::refuse_conv_cudnn(shape, product, options);
  };
  const ConvShape shape = conv(2, 7, 8, 6, 12, 3, 3, 1, 1);
  CHECK(reason(shape).empty());
  for (Product product : {Product::grad_input, Product::grad_weight})
    CHECK_THAT(reason(shape, product),
               ContainsSubstring("cudnn/conv_s8 grad_") && ContainsSubstring("it has no gradients in INT8"));
  CHECK_THAT(reason(conv(2, 7, 8, 6, 12, 3, 3, 1, 1, 1, 2)), ContainsSubstring("groups are not taken"));
  CHECK_THAT(reason(shape, Product::forward, {.a_unsigned = true}), ContainsSubstring("this X is unsigned"));
  CHECK_THAT(reason(conv(2, 7, 8, 6, 10, 3, 3)), ContainsSubstring("filters are no multiple of 4"));
  CHECK(reason(linear(2, 131056, 4)).empty());
  CHECK_THAT(reason(linear(2, 131072, 4)), ContainsSubstring("sums that no int32 holds"));
  CHECK_FALSE(cu::plan_conv_cudnn(shape, Product::grad_weight, {}));
}
