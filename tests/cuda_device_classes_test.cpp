// Weight gradients with sample classes on a device against kernels/ref.
#include "cuda/depthwise_s8.h"
#include "cuda/quantize.h"
#include "support/cuda_device.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// An order of samples as the device makes it, from classes.
class DeviceOrder {
 public:
  DeviceOrder(const std::vector<std::uint8_t>& classes, const cu::ConvPlan& plan)
      : classes_(classes),
        entries_(static_cast<std::size_t>(plan.x().places)),
        head_(std::vector<cu::SampleOrder>(1)) {
    cu::order_samples({.samples = static_cast<int>(classes.size()),
                       .places = static_cast<int>(plan.shape.n),
                       .sample_class = classes_.data(),
                       .order = head_.data(),
                       .entries = entries_.data()},
                      nullptr);
    cu::check(cudaDeviceSynchronize(), "test: order_samples");
    const HostOrder expected(classes, static_cast<int>(plan.shape.n));
    std::vector<std::int32_t> found = entries_.values();
    found.resize(expected.entries.size());
    CHECK(first_difference(found, expected.entries) == none);
  }
  const cu::SampleOrder* head() { return head_.data(); }
  cu::BatchOrder batch() { return {head_.data(), entries_.data()}; }

 private:
  DeviceArray<std::uint8_t> classes_;
  DeviceArray<std::int32_t> entries_;
  DeviceArray<cu::SampleOrder> head_;
};

/// The batch copy that the device makes of pixel copies by turn_image().
std::vector<std::int8_t> turned(const cu::ImageLayout& layout, const std::vector<Bytes>& planes,
                                DeviceOrder& order) {
  const int count = static_cast<int>(planes.size());
  DeviceArray<std::int8_t> pixel(device_image(layout, planes, false));
  DeviceArray<std::int8_t> batch(unwritten_planes(layout.batch_copy_bytes(), count));
  cu::turn_image({layout, count, pixel.data(), batch.data(), order.batch()}, nullptr);
  cu::check(cudaDeviceSynchronize(), "test: turn_image");
  return batch.values();
}

/// A weight gradient with sample classes: run(args, order) of either kind of plan.
template <class Run>
void check_classes(const cu::ConvPlan& plan, const cu::ImageLayout& x, const cu::ImageLayout& y,
                   const ConvShape& shape, const std::vector<std::uint8_t>& classes, const Run& run) {
  const cu::ConvOptions& options = plan.options;
  INFO(describe(shape));
  const PlainOperands operands =
      draw_operands(shape, Product::grad_weight, options.a_planes, options.b_planes);
  DeviceOrder order(classes, plan);
  const HostOrder host(classes, static_cast<int>(plan.shape.n));
  const Bytes a_copy = turned(x, operands.a, order), b_copy = turned(y, operands.b, order);
  CHECK(first_difference(a_copy, device_image(x, operands.a, true, &host)) == none);
  CHECK(first_difference(b_copy, device_image(y, operands.b, true, &host)) == none);
  DeviceArray<std::int8_t> a(a_copy), b(b_copy), scratch(static_cast<std::size_t>(plan.workspace_bytes()));
  const auto expected = reference_sums(shape, Product::grad_weight, operands, options.a_unsigned,
                                       plan.result_elements(), classes.data());
  for (int time = 0; time < 2; ++time) {
    DeviceArray<std::int64_t> sums(expected.size());
    ConvArgs args{.a = a.data(), .b = b.data(), .a_planes = options.a_planes, .b_planes = options.b_planes};
    args.integers = sums.data(), args.scratch = scratch.data();
    run(args, order.head());
    cu::check(cudaDeviceSynchronize(), "test: sample classes");
    CHECK(first_difference(sums.values(), expected) == none);
  }
}

}  // namespace

TEST_CASE("weight gradients with sample classes give the reference's integers") {
  std::mt19937 generator(71);
  for (int i = 0; i < 60; i += on_host ? 6 : 1) {  // small ones alone there
    ConvShape shape = i % 2 == 0 ? draw_shape(generator) : conv(1, 14, 14, 64, 96, 3, 3, 1, 1);
    shape.n = std::uniform_int_distribution<int>(1, i % 2 == 0 ? 40 : 128)(generator);
    const auto classes = draw_classes(shape.n, 24, generator);
    for (cu::Family family : families()) {
      cu::ConvOptions options{.a_planes = 1 + (i % 5 == 0), .a_unsigned = i % 5 == 1, .sample_classes = 24};
      options.least_splits = 1 + i % 4;
      if (i % 3 > 0) options.tile = all_tiles[static_cast<std::size_t>(i % 3)];
      const cu::ConvPlan plan = cu::plan_conv(shape, Product::grad_weight, cu::options_for(family, options));
      check_classes(plan, plan.x(), plan.y(), shape, classes,
                    [&](const ConvArgs& args, const cu::SampleOrder* order) {
                      cu::run_conv(plan, args, family, nullptr, order);
                    });
    }
  }
  for (ConvShape shape : depthwise_shapes()) {
    if (shape.h > 1) shape.n = 40;
    const cu::DepthwisePlan plan = cu::plan_depthwise(shape, Product::grad_weight, {.sample_classes = 24});
    check_classes(plan.conv, plan.x(), plan.y(), shape, draw_classes(shape.n, 24, generator),
                  [&](const ConvArgs& args, const cu::SampleOrder* order) {
                    cu::run_depthwise(plan, args, nullptr, order);
                  });
  }
}
