#include "bench_kernels.h"

int main(int argc, char** argv) {
  octavo::KernelBench options;
  CLI::App app("Speed of the integer convolution kernels");
  octavo::add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return octavo::bench_kernels(options);
}
