// Every kernel of the CUDA backend on a device against kernels/ref: equal integers, bit-equal floats.
#include "support/cuda_device.h"
#include "cuda/depthwise_s8.h"
#include "cuda/prepared_kernel.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// One product: uploaded operands, and runs of it.
class DeviceProduct {
 public:
  DeviceProduct(const ConvShape& shape, Product product, cu::Family family, cu::ConvOptions options)
      : plan_(cu::plan_conv(shape, product, cu::options_for(family, options))),
        family_(family),
        operands_(draw_operands(shape, product, options.a_planes, options.b_planes)),
        a_(device_a(plan_, operands_)),
        b_(device_b(plan_, operands_)),
        scratch_(static_cast<std::size_t>(plan_.workspace_bytes())) {}

  std::vector<std::int64_t> sums() {
    DeviceArray<std::int64_t> out(static_cast<std::size_t>(plan_.result_elements()));
    ConvArgs args = operand_args();
    args.integers = out.data();
    run(args);
    return out.values();
  }

  void run(ConvArgs& args) {
    args.scratch = scratch_.data();
    cu::run_conv(plan_, args, family_, nullptr);
    cu::check(cudaDeviceSynchronize(), cu::describe_conv(plan_.shape, plan_.product));
  }

  ConvArgs operand_args() {
    return {.a = a_.data(),
            .b = b_.data(),
            .a_planes = plan_.options.a_planes,
            .b_planes = plan_.options.b_planes};
  }
  const cu::ConvPlan& plan() const { return plan_; }
  const PlainOperands& operands() const { return operands_; }

 private:
  cu::ConvPlan plan_;
  cu::Family family_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_, scratch_;
};

void check_sums(const ConvShape& shape, Product product, cu::Family family, const cu::ConvOptions& options) {
  INFO(cu::family_name(family) << " " << product_name(product) << " " << describe(shape));
  DeviceProduct device(shape, product, family, options);
  const auto found = device.sums();
  CHECK(first_difference(found, reference_sums(shape, product, device.operands(), options.a_unsigned,
                                               device.plan().result_elements())) == none);
  CHECK(first_difference(device.sums(), found) == none);  // and the same again
}

/// Every epilogue of a product.
void check_floats(const ConvShape& shape, Product product, cu::Family family,
                  const cu::ConvOptions& options) {
  DeviceProduct device(shape, product, family, options);
  for (unsigned bits = 0; bits < float_cases; ++bits) {
    if (product != Product::forward && (bits & 8) != 0) continue;  // a bias
    INFO(cu::family_name(family) << " " << product_name(product) << " " << describe(shape) << " " << bits
                                 << " tile " << static_cast<int>(device.plan().tile) << " splits "
                                 << options.least_splits);
    const FloatCase drawn(shape, product, device.plan().result_elements(), bits);
    const auto expected = reference_floats(shape, product, device.operands(), drawn.args, drawn.start);
    for (FloatType type : types_of(product)) {
      const auto found =
          device_floats(drawn, device.operand_args(), type, [&](ConvArgs& args) { device.run(args); });
      CHECK(first_difference(found, stored_as(expected, type)) == none);
    }
  }
}

}  // namespace

TEST_CASE("the three products give the reference's integers", OCTAVO_LARGE) {
  std::mt19937 generator(1);
  for (const ConvShape& shape : shapes())
    for (cu::Family family : families())
      for (Product product : all_products) check_sums(shape, product, family, {});
  for (int i = 0; i < 60; ++i) {
    const ConvShape shape = draw_shape(generator);
    for (cu::Family family : families())
      for (Product product : all_products)
        for (int splits : {1, 2, 3})
          check_sums(shape, product, family, {.processors = i % 2 ? 132 : 1, .least_splits = splits});
  }
}

TEST_CASE("every tile, larger layers", OCTAVO_LARGE) {
  for (cu::TileKind tile : all_tiles)
    for (const ConvShape& shape :
         {conv(16, 14, 14, 64, 96, 3, 3, 1, 1), conv(32, 15, 15, 80, 200, 3, 3, 2, 1), linear(300, 260, 190)})
      for (Product product : all_products)
        for (int splits : {1, 3})
          for (cu::Family family : matrix_families())
            check_sums(shape, product, family, {.tile = tile, .least_splits = splits});
}

TEST_CASE("unsigned activations, several planes and long sums") {
  for (cu::Family family : families()) {
    for (const ConvShape& shape : shapes())
      for (Product product : {Product::forward, Product::grad_weight})
        check_sums(shape, product, family, {.a_unsigned = true});
    for (int pair = 0; pair < 9; ++pair)
      for (Product product : all_products)
        check_sums(conv(5, 9, 8, 20, 24, 3, 3, 2, 1), product, family,
                   {.a_planes = 1 + pair % 3, .b_planes = 1 + pair / 3});
    check_sums(linear(140000, 5, 17), Product::grad_weight, family, {.processors = 1});
    check_sums(linear(2, 140000, 3), Product::forward, family, {.processors = 1});
  }
}

TEST_CASE("depthwise products give the reference's integers") {
  for (const ConvShape& shape : depthwise_shapes())
    for (Product product : all_products)
      for (const cu::ConvOptions& options : {cu::ConvOptions{}, cu::ConvOptions{.a_planes = 2, .b_planes = 3},
                                             cu::ConvOptions{.a_unsigned = true}}) {
        if (options.a_unsigned && product == Product::grad_input) continue;
        INFO(product_name(product) << " " << describe(shape));
        const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, options);
        const PlainOperands operands = draw_operands(shape, product, options.a_planes, options.b_planes);
        DeviceArray<std::int8_t> a(depthwise_a(plan, operands)), b(depthwise_b(plan, operands));
        const auto expected =
            reference_sums(shape, product, operands, options.a_unsigned, plan.conv.result_elements());
        for (int time = 0; time < 2; ++time) {
          DeviceArray<std::int64_t> sums(static_cast<std::size_t>(plan.conv.result_elements()));
          ConvArgs args{
              .a = a.data(), .b = b.data(), .a_planes = options.a_planes, .b_planes = options.b_planes};
          args.integers = sums.data();
          cu::run_depthwise(plan, args, nullptr);
          cu::check(cudaDeviceSynchronize(), "test: run_depthwise");
          CHECK(first_difference(sums.values(), expected) == none);
        }
      }
}

TEST_CASE("depthwise products give the reference's floats") {
  for (const ConvShape& shape : depthwise_shapes())
    for (Product product : all_products) {
      const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, {});
      const PlainOperands operands = draw_operands(shape, product, 1, 1);
      DeviceArray<std::int8_t> a(depthwise_a(plan, operands)), b(depthwise_b(plan, operands));
      for (unsigned bits = 0; bits < float_cases; ++bits) {
        if (product != Product::forward && (bits & 8) != 0) continue;
        INFO(product_name(product) << " " << describe(shape) << " " << bits);
        const FloatCase drawn(shape, product, plan.conv.result_elements(), bits);
        const auto expected = reference_floats(shape, product, operands, drawn.args, drawn.start);
        for (FloatType type : types_of(product)) {
          const auto run = [&](ConvArgs& args) {
            cu::run_depthwise(plan, args, nullptr);
            cu::check(cudaDeviceSynchronize(), "test: run_depthwise");
          };
          const auto found = device_floats(drawn, {.a = a.data(), .b = b.data()}, type, run);
          CHECK(first_difference(found, stored_as(expected, type)) == none);
        }
      }
    }
}

TEST_CASE("scales, bias, accumulation and bfloat16 give the reference's floats", OCTAVO_LARGE) {
  for (const ConvShape& shape : shapes())
    for (Product product : all_products)
      for (cu::Family family : families())
        for (int splits : {1, 3}) check_floats(shape, product, family, {.least_splits = splits});
}

TEST_CASE("every tile stores the reference's floats", OCTAVO_LARGE) {
  for (cu::TileKind tile : all_tiles)
    for (const ConvShape& shape :
         {conv(2, 12, 12, 140, 150, 1, 1), conv(4, 10, 9, 20, 130, 3, 3, 2, 1), uneven()})
      for (Product product : all_products)
        for (int splits : {1, 3})
          for (cu::Family family : matrix_families())
            check_floats(shape, product, family, {.tile = tile, .least_splits = splits});
}

TEST_CASE("wgmma gives the reference's integers where the device has it") {
  const std::string refused = cu::refuse_family(cu::Family::wgmma);
  if (!refused.empty()) {
    WARN("wgmma is left out of every test: " << refused);
    return;
  }
  const char* given = std::getenv("OCTAVO_CUDA_TMA");
  const std::string before = given == nullptr ? "1" : given;
  // Stages filled by TMA for blocks that take tile after tile, and for one block a tile, and by threads.
  for (const auto& [tma, persistent] : {std::pair{"1", "1"}, std::pair{"1", "0"}, std::pair{"0", "1"}}) {
    setenv("OCTAVO_CUDA_TMA", tma, 1);
    setenv("OCTAVO_CUDA_PERSISTENT", persistent, 1);
    for (cu::TileKind tile :
         {cu::TileKind::wide, cu::TileKind::narrow, cu::TileKind::small, cu::TileKind::broad})
      for (Product product : all_products) {
        check_sums(conv(3, 9, 8, 70, 290, 3, 3, 2, 1), product, cu::Family::wgmma, {.tile = tile});
        check_sums(conv(70, 5, 6, 144, 120, 3, 3, 1, 1), product, cu::Family::wgmma, {.tile = tile});
        check_sums(linear(200, 250, 140), product, cu::Family::wgmma, {.tile = tile});
      }
  }
  setenv("OCTAVO_CUDA_TMA", before.c_str(), 1);
  unsetenv("OCTAVO_CUDA_PERSISTENT");
}

TEST_CASE("plans of TMA are of wgmma") {
  const ConvShape shape = conv(2, 9, 9, 64, 64, 3, 3, 1, 1);
  const cu::ConvPlan plan = cu::plan_conv(shape, Product::forward, {.tma = true});
  CHECK(plan.by_tma());
  const PlainOperands operands = draw_operands(shape, Product::forward, 1, 1);
  DeviceArray<std::int8_t> a(device_a(plan, operands)), b(device_b(plan, operands));
  DeviceArray<std::int64_t> sums(static_cast<std::size_t>(plan.result_elements()));
  DeviceArray<std::int8_t> scratch(static_cast<std::size_t>(plan.workspace_bytes()));
  const ConvArgs args{.a = a.data(), .b = b.data(), .integers = sums.data(), .scratch = scratch.data()};
  CHECK_THROWS_WITH(cu::run_conv(plan, args, cu::Family::mma, nullptr),
                    ContainsSubstring("plan with options_for()"));
}

#if OCTAVO_ARCH > 0
TEST_CASE("a device is asked once for what it keeps of a kernel") {
  static const char kernel = 0;
  const auto resident = [](int cluster) {
    return cu::resident_clusters(&kernel, 64, 1024, cluster, "test: ");
  };
  CHECK(resident(2) == cuda_host_resident);
  cuda_host_resident += 4;
  CHECK(resident(2) == cuda_host_resident - 4);
  cuda_host_capability = 100;  // another one
  CHECK(resident(2) == cuda_host_resident);
  cuda_host_capability = 90;
  cuda_host_resident -= 4;
  CHECK(resident(1) == 4);  // a block on each multiprocessor
}

TEST_CASE("wgmma is refused where it cannot run") {
  DeviceProduct device(conv(2, 5, 5, 16, 16, 3, 3), Product::forward, cu::Family::wgmma, {});
  const auto refused = [&](const std::string& why, std::size_t left) {
    CHECK_THROWS_WITH(device.sums(), ContainsSubstring("forward of X 2x5x5x16") && ContainsSubstring(why));
    CHECK(families().size() == left);
  };
  for (int capability : {75, 86, 100, 120}) {
    cuda_host_capability = capability;
    refused("capability 9.0, and this one has " + std::to_string(capability / 10) + "." +
                std::to_string(capability % 10) + "; choose mma",
            2);
  }
  cuda_host_capability = 90;
  cuda_host_static_shared = 0;
  refused("this build has no wgmma for this device; build with CMAKE_CUDA_ARCHITECTURES=90a-real", 2);
  cuda_host_static_shared = 1024;
  CHECK(families().size() == 3);
}

TEST_CASE("a card without matrix instructions for bytes takes dp4a by itself") {
  const ConvShape shape = conv(2, 5, 5, 16, 70, 3, 3);
  CHECK(cu::active_family() == cu::Family::mma);
  for (int capability : {61, 70, 72}) {
    cuda_host_capability = capability;
    CHECK(cu::active_family() == cu::Family::dp4a);
    CHECK(families() == std::vector{cu::Family::dp4a});
    DeviceProduct by_matrices(shape, Product::forward, cu::Family::mma, {});
    CHECK_THROWS_WITH(
        by_matrices.sums(),
        ContainsSubstring("capability 7.5, and this one has " + std::to_string(capability / 10) + "." +
                          std::to_string(capability % 10) + "; choose dp4a"));
    CHECK_THAT(cu::refuse_family(cu::Family::wgmma), ContainsSubstring("choose dp4a"));
    ::setenv("OCTAVO_CUDA_KERNELS", "mma", 1);  // who asks is told
    CHECK(cu::active_family() == cu::Family::mma);
    ::unsetenv("OCTAVO_CUDA_KERNELS");
    check_sums(shape, Product::grad_weight, cu::active_family(), {});
  }
  cuda_host_capability = 75;
  CHECK(cu::active_family() == cu::Family::mma);
  cuda_host_capability = 90;
}
#endif

TEST_CASE("OCTAVO_CUDA_KERNELS chooses the family of a product") {
  const ConvShape shape = conv(2, 9, 9, 32, 32, 3, 3, 1, 1);
  const cu::Family family = cu::active_family();
  DeviceProduct device(shape, Product::forward, family, {});
  DeviceArray<std::int64_t> sums(static_cast<std::size_t>(device.plan().result_elements()));
  ConvArgs args = device.operand_args();
  args.integers = sums.data();
  DeviceArray<std::int8_t> scratch(static_cast<std::size_t>(device.plan().workspace_bytes()));
  args.scratch = scratch.data();
  cu::run_conv(device.plan(), args, nullptr);
  cu::check(cudaDeviceSynchronize(), "test: run_conv");
  CHECK(first_difference(sums.values(), device.sums()) == none);
}

TEST_CASE("an error that was handled is not found after the next launch") {
  void* memory = nullptr;
  CHECK_THROWS_WITH(cu::check(cudaMalloc(&memory, std::size_t{1} << 60), "test: "),
                    ContainsSubstring("Use a smaller batch"));
  CHECK_NOTHROW(cu::check(cudaGetLastError(), "test: "));
}

TEST_CASE("arguments that a product cannot take are refused by name") {
  DeviceProduct device(conv(2, 5, 5, 16, 16, 3, 3), Product::grad_weight, cu::Family::mma, {});
  ConvArgs args = device.operand_args();
  const std::uint8_t classes[2] = {};
  args.sample_class = classes;
  CHECK_THROWS_WITH(device.run(args), ContainsSubstring("order of samples"));
  args = device.operand_args();
  CHECK_THROWS_WITH(device.run(args), ContainsSubstring("grad_weight of X 2x5x5x16"));
}
