// The main function of tests that need a device: without one they are skipped, visibly, with CTest's code 77.
#define CATCH_CONFIG_RUNNER
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

#include "support/catch.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--list", 6) == 0) return Catch::Session().run(argc, argv);
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  const bool none = error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver;
  if (none || (error == cudaSuccess && devices == 0)) {
    std::printf("skipped: no CUDA device (%s); no kernel of the CUDA backend ran\n",
                cudaGetErrorString(error));
    return 77;
  }
  if (error != cudaSuccess) {
    std::printf("cudaGetDeviceCount: %s, %s\n", cudaGetErrorName(error), cudaGetErrorString(error));
    return 1;
  }
  return Catch::Session().run(argc, argv) != 0 ? 1 : 0;  // a count of 77 failures is no skip
}
