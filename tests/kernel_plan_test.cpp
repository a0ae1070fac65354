// Plan files of octavo tune: what is written reads back, and what is wrong is named with its place.
#include "exec/kernel_plan.h"

#include "support/catch.h"
#include "support/temporary_folder.h"

using namespace octavo;
using namespace octavo::testing;
using kernels::ConvShape;
using kernels::Product;

namespace {

const ConvShape shape{
    .n = 2, .h = 6, .w = 6, .c = 8, .k = 16, .r = 3, .s = 3, .ho = 6, .wo = 6, .pad_h = 1, .pad_w = 1};

KernelPlan read(const TemporaryFolder& folder, const std::string& products) {
  write_text(folder / "plan.yaml", "cpu: any\nisa: ref\nthreads: 1\nproducts:\n" + products);
  return read_kernel_plan((folder / "plan.yaml").string());
}

std::string error_of(const std::string& products) {
  const TemporaryFolder folder;
  try {
    read(folder, products);
  } catch (const Error& error) {
    CHECK(error.code() == Errc::config);
    return error.what();
  }
  return "";
}

const std::string sizes = "{n: 2, h: 6, w: 6, c: 8, k: 16, r: 3, s: 3, ho: 6, wo: 6, pad_h: 1, pad_w: 1}";

}  // namespace

TEST_CASE("a plan file reads back and chooses by product and sizes") {
  const TemporaryFolder folder;
  KernelPlan plan{.cpu = "A: #1", .isa = "ref", .threads = 2, .products = {}};
  plan.products.push_back({Product::grad_weight,
                           shape,
                           &kernels::conv_s8_candidates().back(),
                           {{"ref/conv_s8", 1.5}},
                           {"stage1.conv", "[odd] name"}});
  write_text(folder / "plan.yaml", plan.text("title"));
  const KernelPlan back = read_kernel_plan((folder / "plan.yaml").string());
  CHECK(back.cpu == plan.cpu);
  CHECK(back.threads == 2);
  REQUIRE(back.products.size() == 1);
  CHECK(back.products[0].shape == shape);
  const KernelChoice choice = back.choice();
  CHECK(choice(shape, Product::grad_weight, {}) == &kernels::conv_s8_candidates().back());
  CHECK(choice(shape, Product::forward, {}) == nullptr);
  ConvShape other = shape;
  other.n = 3;
  CHECK(choice(other, Product::grad_weight, {}) == nullptr);
  write_text(folder / "empty.yaml",
             KernelPlan{.cpu = "x", .isa = "ref", .threads = 1, .products = {}}.text("t"));
  CHECK(read_kernel_plan((folder / "empty.yaml").string()).products.empty());
}

TEST_CASE("kernels above the active instruction set are named and left out") {
  const TemporaryFolder folder;
  const KernelPlan plan =
      read(folder, "  - {product: forward, shape: " + sizes + ", kernel: avx2/conv_s8}\n");
  const kernels::Isa before = kernels::active_isa();
  kernels::force_isa(kernels::Isa::ref);
  std::string warned;
  CHECK(plan.choice([&](const std::string& line) { warned += line; })(shape, Product::forward, {}) ==
        nullptr);
  kernels::force_isa(before);
  CHECK_THAT(warned, ContainsSubstring("avx2/conv_s8"));
}

TEST_CASE("a plan measured on another CPU or with other threads says so") {
  const KernelPlan plan{.cpu = "CPU A", .isa = "ref", .threads = 2, .products = {}};
  CHECK(plan.mismatch("CPU A", 2).empty());
  for (const std::string& line : {plan.mismatch("CPU B", 2), plan.mismatch("CPU B", 3)}) {
    CHECK_THAT(line, ContainsSubstring("'CPU A' with 2 threads"));
    CHECK_THAT(line, ContainsSubstring("'CPU B' with"));
  }
  CHECK_THAT(plan.mismatch("CPU A", 3), ContainsSubstring("'CPU A' with 3"));
}

TEST_CASE("what is wrong with a plan file is named with its place") {
  const std::string wrong =
      error_of("  - {product: backwards, shape: " + sizes + ", kernel: avx2/conv_s9}\n" +
               "  - {product: forward, shape: {n: 0, hh: 2}, kernel: ref/conv_s8}\n" +
               "  - {product: forward, kernel: ref/conv_s8, why: 1}\n");
  for (const char* text : {"plan.yaml:5:15: unknown product 'backwards'",
                           "no integer kernel 'avx2/conv_s9'; did you mean 'avx2/conv_s8'?",
                           "plan.yaml:6:35: expected a whole number from 1 to 1048576", "unknown key 'hh'",
                           "'shape' is missing", "unknown key 'why'"})
    CHECK_THAT(wrong, ContainsSubstring(text));
  CHECK_THAT(error_of("  - {product: forward, shape: " + sizes + ", kernel: avx2/depthwise_s8}\n"),
             ContainsSubstring("'avx2/depthwise_s8' refuses this product"));
  CHECK_THAT(error_of("  - {product: forward, shape: {r: 4294967296, s: 4294967296}, kernel: ref/conv_s8}\n"),
             ContainsSubstring("expected a whole number from 1 to 1048576, found '4294967296'"));
  const std::string once = "  - {product: forward, shape: " + sizes + ", kernel: ref/conv_s8}\n";
  CHECK_THAT(error_of(once + once), ContainsSubstring("plan.yaml:6:5: this product of these sizes stands"));
}
