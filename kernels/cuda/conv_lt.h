// Linear layers and 1x1 convolutions by cuBLASLt in INT8: its s32 sums are the parts that our join makes
// results of, so that these have the bits of run_conv().
#pragma once

#include <optional>

#include "conv_plan.h"
#include "lt_matmul.h"

namespace octavo::kernels::cuda {

inline constexpr const char* lt_kernel_name = "cublaslt/matmul_s8";

struct ConvLtPlan {
  ConvPlan conv;  // layouts, and the parts that are joined; its tile runs nowhere
  std::shared_ptr<const LtMatmul> whole, rest;  // a part of the contraction, and the last one
  std::int64_t part_bytes = 0;                  // of the contraction in a whole part
  std::int64_t workspace_bytes() const { return sums_bytes() + matmul_bytes(); }
  /// Sums of all parts, behind what the library needs.
  std::int64_t sums_bytes() const { return conv.parts() * conv.gemm.results * 4; }
  std::int64_t matmul_bytes() const;
};

/// Empty, or why cuBLASLt does not take the product: the documented restrictions of its INT8 kernels.
std::string refuse_conv_lt(const ConvShape& shape, Product product, const ConvOptions& options);
/// None where it is refused, or where the library has no algorithm. `options.tile` says nothing here.
std::optional<ConvLtPlan> plan_conv_lt(const ConvShape& shape, Product product, const ConvOptions& options);
/// As run_conv(), with scratch of plan.workspace_bytes().
void run_conv_lt(const ConvLtPlan& plan, const ConvArgs& args, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
