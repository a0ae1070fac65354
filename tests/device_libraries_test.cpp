// Whole trainings whose products NVIDIA's libraries run, beside the same on the CPU.
#include "support/device_steps.h"
#include "train/summary.h"
#if OCTAVO_ARCH > 0
#include <cudnn_graph.h>
#endif

using namespace octavo;
using namespace octavo::testing;

namespace {

bool left_out() {
  if (!kernels::cuda::has_cublaslt()) WARN("cuBLASLt is left out of every test: this build does not have it");
  return !kernels::cuda::has_cublaslt();
}

/// An environment variable, until this ends.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

bool no_cudnn() {
  if (!kernels::cuda::has_cudnn()) WARN("cuDNN is left out of every test: this build does not have it");
  return !kernels::cuda::has_cudnn();
}

}  // namespace

TEST_CASE("integer products by a library are the same training", "[training]") {
  const std::string library = GENERATE("cublaslt", "cudnn");
  if (library == "cublaslt" ? left_out() : no_cudnn()) return;
  const Overrides options =
      GENERATE(Overrides{"precision=unified_int8", "model.file=every_op.yaml", "data.batch=10"},
               Overrides{"precision=auto", "model.file=every_op.yaml", "precision.edges=bf16"},
               Overrides{"precision=int8_minmax", "precision.options.scales=row"});
  INFO(library << " " << options[0]);
  const TemporaryFolder folder;
  const auto cpu = engine_of(folder, options, "cpu");
  const Environment asked("OCTAVO_CUDA_KERNELS", library);
  const auto gpu = engine_of(folder, options, "cuda");
#if OCTAVO_ARCH > 0
  const int fused = cudnn_host.fused;
#endif
  gpu->evaluate();
  require_equal_steps(*cpu, *gpu, 5);
#if OCTAVO_ARCH > 0
  CHECK((cudnn_host.fused > fused) == (library == "cudnn"));
#endif
  const std::string plan = precision_plan(gpu->training_plan(), gpu->program());
  CHECK_THAT(plan, ContainsSubstring(library == "cudnn" ? "cudnn/conv_s8" : "cublaslt/matmul_s8"));
  if (library == "cudnn") CHECK_THAT(plan, ContainsSubstring("cudnn/matmul_s8"));
  CHECK_THAT(plan, ContainsSubstring("cuda/conv_s8"));
}

#if OCTAVO_ARCH > 0
TEST_CASE("where cuDNN compiles no matrix product, other kernels run it", "[training]") {
  const Overrides options{"precision=int8_minmax", "model.file=every_op.yaml"};
  const TemporaryFolder folder;
  const auto cpu = engine_of(folder, options, "cpu");
  const Environment asked("OCTAVO_CUDA_KERNELS", "cudnn");
  cudnn_host.without_compiler = true;
  const auto gpu = engine_of(folder, options, "cuda");
  gpu->evaluate();
  require_equal_steps(*cpu, *gpu, 2);
  cudnn_host.without_compiler = false;
  const std::string plan = precision_plan(gpu->training_plan(), gpu->program());
  CHECK_THAT(plan, !ContainsSubstring("cudnn/matmul_s8") && ContainsSubstring("cudnn/conv_s8"));
}
#endif

TEST_CASE("layers in float by NVIDIA's libraries are those of the CPU but for rounding", "[training]") {
  if (left_out()) return;
  const std::string math = GENERATE("fp32", "tf32", "bf16");
  INFO(math);
  const double bound = math == "fp32" ? (on_host ? 1e-6 : 1e-3) : math == "tf32" ? 2e-2 : 0.15;
  const TemporaryFolder folder;
  const Overrides overrides{"model.file=every_op.yaml", "data.batch=10", "precision=fp32"};
  const auto cpu = engine_of(folder, overrides, "cpu"),
             gpu = engine_of(folder, with(overrides, {"train.device_float=" + math}), "cuda");
  const std::string plan = precision_plan(gpu->training_plan(), gpu->program());
  CHECK_THAT(plan, ContainsSubstring("cublaslt/matmul_" + math));
  if (kernels::cuda::has_cudnn())
    CHECK_THAT(plan, ContainsSubstring("cudnn/conv_" + math) && !ContainsSubstring("cuda/conv_f32"));
  for (int i = 0; i < (math == "fp32" ? 2 : 1); ++i) {
    const StepReport a = cpu->step(), b = gpu->step();
    CHECK(std::fabs(b.loss - a.loss) <= bound * a.loss);
    require_close_gradients(*cpu, *gpu, a.gradient_norm, bound);
  }
  const auto products = [] {
#if OCTAVO_ARCH > 0
    return cublaslt_host.products + cudnn_host.products;
#else
    return 0;
#endif
  };
  const int before = products();
  const double loss = cpu->evaluate().loss;
  CHECK(std::fabs(gpu->evaluate().loss - loss) <= bound * loss);
  CHECK(products() == before);  // a library's sums might depend on the batch
  CHECK_THROWS_WITH(engine_of(folder, with(overrides, {"train.device_float=" + math}), "cpu"),
                    ContainsSubstring("train.device_float: NVIDIA's libraries are for train.device=cuda"));
}

#if OCTAVO_ARCH > 0
TEST_CASE("an error of a library when a plan is made names the layer") {
  const TemporaryFolder folder;
  const auto message = [&](const Overrides& overrides) -> std::string {
    try {
      engine_of(folder, with(overrides, {"model.file=every_op.yaml"}), "cuda")->step();
    } catch (const Error& error) {
      CHECK(error.code() == Errc::resource);
      return error.what();
    }
    return "";
  };
  cublaslt_host.without_driver = cudnn_host.without_driver = true;
  CHECK_THAT(message({"precision=fp32", "train.device_float=fp32"}),
             ContainsSubstring("stem") && ContainsSubstring("cudnn/conv_fp32 forward of X ") &&
                 ContainsSubstring("cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED"));
  const Environment asked("OCTAVO_CUDA_KERNELS", "cublaslt");
  CHECK_THAT(message({"precision=unified_int8"}),
             ContainsSubstring("narrow") && ContainsSubstring("cublaslt/matmul_s8 forward of X ") &&
                 ContainsSubstring("cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED"));
  cublaslt_host.without_driver = cudnn_host.without_driver = false;
}
#endif
