// The file that `octavo tune` writes: which of the bit-equal integer kernels runs each product on this
// machine.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "graph/quantize.h"

namespace octavo {

/// One product of given sizes.
struct TunedProduct {
  kernels::Product product = kernels::Product::forward;
  kernels::ConvShape shape;
  const kernels::ConvS8Candidate* kernel = nullptr;
  std::vector<std::pair<std::string, double>> milliseconds;  // by kernel, for people
  std::vector<std::string> layers;                           // for people
};

struct KernelPlan {
  std::string cpu, isa;  // where it was measured
  std::int64_t threads = 0;
  std::vector<TunedProduct> products;

  /// Kernels of the active instruction set and below are chosen; `warn` names those that are not.
  KernelChoice choice(const DispatchLog& warn = {}) const;
  /// What to tell the user when it was measured on another CPU or with other threads; empty when on these.
  std::string mismatch(const std::string& this_cpu, std::int64_t this_threads) const;
  /// YAML that read_kernel_plan() reads back.
  std::string text(const std::string& title) const;
};

/// Errc::config with "file:line:col" for what is not of this form, kernels that do not exist, and kernels
/// that refuse the sizes.
KernelPlan read_kernel_plan(const std::string& path);

}  // namespace octavo
