#include "bench_kernels.h"

int main(int argc, char** argv) { return octavo::bench_kernels(argc, argv); }
