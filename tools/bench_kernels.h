// The speed of the integer kernels: `octavo bench kernels`, and the program of its own name.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace octavo {

struct KernelBench {
  int threads = 2;
  double budget = 0.15;  // seconds per line
  bool json = false, reference = false;
  std::string filter, isa;
};

void add_options(CLI::App& app, KernelBench& options);
int bench_kernels(const KernelBench& options);  // prints; returns the exit code

}  // namespace octavo
