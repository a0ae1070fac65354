// Registers its own parts, then trains by their names in half, and resumes: extend CONFIG.yaml RUN_FOLDER
#include <octavo/octavo.h>

#include <cstdio>

#include "parts.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: extend CONFIG.yaml RUN_FOLDER\n");
    return 2;
  }
  try {
    register_leaky_relu();
    register_percentile_policy();
    register_stripes();
    const octavo::Config config = octavo::Config::load(argv[1], {}, octavo::catalog());
    octavo::RunOptions options;
    options.folder = argv[2];
    options.stop_after = config.train().steps / 2;
    octavo::train(config, options);
    const octavo::RunResult result = octavo::resume(argv[2]);
    std::printf("%s %.4f after %lld steps\n", result.last.metric_name.c_str(), result.last.metric,
                static_cast<long long>(result.step));
    return result.finished ? 0 : 1;
  } catch (const octavo::Error& error) {
    std::fprintf(stderr, "extend: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
