// Speed of every line of the integer convolution list at training shapes: GOP/s (a multiply-add counts 2) and
// the share of the vpdpbusd peak that was measured right before and behind it (virtual cores may share a core
// at one moment and not at the next), and of what the slower of that and of reading and writing as many bytes
// would let the product reach.
#include <CLI/CLI.hpp>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bench_kernels.h"
#include "layer_shape.h"
#include "peaks.h"
#include "time_conv_s8.h"

using namespace octavo;
using namespace octavo::kernels;

namespace {

struct Layer {
  std::string network, name;
  ConvShape shape;
};

std::vector<Layer> layers() {
  ConvShape head{.n = 1, .h = 1, .w = 128, .c = 64, .k = 10, .ho = 1, .wo = 128};
  ConvShape gates{.n = 1, .h = 1, .w = 700, .c = 1300, .k = 2600, .ho = 1, .wo = 700};
  ConvShape alexnet_fc6{.n = 1, .h = 1, .w = 32, .c = 9216, .k = 4096, .ho = 1, .wo = 32};
  ConvShape vgg_fc1{.n = 1, .h = 1, .w = 4, .c = 25088, .k = 4096, .ho = 1, .wo = 4};
  ConvShape gate_step{.n = 1, .h = 1, .w = 20, .c = 1300, .k = 2600, .ho = 1, .wo = 20};
  return {{"resnet20", "stem 3-16", square(128, 32, 3, 16, 3)},
          {"resnet20", "16-16 32x32", square(128, 32, 16, 16, 3)},
          {"resnet20", "16-32 s2", square(128, 32, 16, 32, 3, 2)},
          {"resnet20", "16-32 1x1 s2", square(128, 32, 16, 32, 1, 2)},
          {"resnet20", "32-32 16x16", square(128, 16, 32, 32, 3)},
          {"resnet20", "32-64 s2", square(128, 16, 32, 64, 3, 2)},
          {"resnet20", "64-64 8x8", square(128, 8, 64, 64, 3)},
          {"resnet20", "linear 64-10", head},
          {"resnet18", "stem 7x7 s2", square(16, 224, 3, 64, 7, 2)},
          {"resnet18", "64-64 56x56", square(16, 56, 64, 64, 3)},
          {"resnet18", "64-128 s2", square(16, 56, 64, 128, 3, 2)},
          {"resnet18", "64-128 1x1 s2", square(16, 56, 64, 128, 1, 2)},
          {"resnet18", "128-128 28x28", square(16, 28, 128, 128, 3)},
          {"resnet18", "256-256 14x14", square(16, 14, 256, 256, 3)},
          {"resnet18", "256-512 s2", square(16, 14, 256, 512, 3, 2)},
          {"resnet18", "512-512 7x7", square(16, 7, 512, 512, 3)},
          {"mobilenetv2", "16-96 1x1 112", square(16, 112, 16, 96, 1)},
          {"mobilenetv2", "96-24 1x1 56", square(16, 56, 96, 24, 1)},
          {"mobilenetv2", "192-32 1x1 28", square(16, 28, 192, 32, 1)},
          {"mobilenetv2", "96-576 1x1 14", square(16, 14, 96, 576, 1)},
          {"mobilenetv2", "960-160 1x1 7", square(16, 7, 960, 160, 1)},
          {"mobilenetv2", "dw 32 112x112", square(16, 112, 32, 32, 3, 1, 32)},
          {"mobilenetv2", "dw 96 112 s2", square(16, 112, 96, 96, 3, 2, 96)},
          {"mobilenetv2", "dw 144 56x56", square(16, 56, 144, 144, 3, 1, 144)},
          {"mobilenetv2", "dw 384 14x14", square(16, 14, 384, 384, 3, 1, 384)},
          {"mobilenetv2", "dw 960 7x7", square(16, 7, 960, 960, 3, 1, 960)},
          {"alexnet", "fc6 32 rows", alexnet_fc6},
          {"vgg16", "fc1 4 rows", vgg_fc1},
          {"lstm", "linear 700 rows", gates},
          {"lstm", "linear 20 rows", gate_step}};
}

struct Options {
  int threads = 2;
  double budget = 0.15;
  bool json = false, reference = false;
  int a_planes = 1, b_planes = 1;
  std::string classes = "none";
  std::string filter, isa, product, results = "f32";

  ConvTiming timing_of(std::int64_t samples) const {
    ConvTiming timing{.budget = budget, .a_planes = a_planes, .b_planes = b_planes};
    if (results == "bf16") timing.results = FloatType::bf16;
    if (classes != "none") timing.classes = draw_sample_classes(samples, classes == "half");
    return timing;
  }
};

void report(const nlohmann::json& line, bool json) {
  if (json) {
    std::cout << line.dump() << std::endl;
    return;
  }
  std::cout << std::left << std::setw(12) << line["network"].get<std::string>() << std::setw(16)
            << line["layer"].get<std::string>() << std::setw(26) << line["kernel"].get<std::string>()
            << std::setw(12) << line["product"].get<std::string>() << std::right << std::fixed
            << std::setprecision(3) << std::setw(9) << line["ms"].get<double>() << " ms"
            << std::setprecision(0) << std::setw(6) << line["gops"].get<double>() << " GOP/s" << std::setw(5)
            << line["peak_share"].get<double>() * 100 << " %" << std::setw(5)
            << line["roof_share"].get<double>() * 100 << " % of roof" << std::setprecision(3) << std::setw(9)
            << line["pack_ms"].get<double>() << " ms pack" << std::endl;
}

void run_layer(const Layer& layer, const Options& options, ThreadPool& pool) {
  double before = measure_int8_peak(pool);
  for (const ConvS8Candidate& candidate : conv_s8_candidates())
    for (Product product : {Product::forward, Product::grad_input, Product::grad_weight}) {
      if (!isa_supported(candidate.isa) || !candidate.refuse(layer.shape, product).empty()) continue;
      if (candidate.isa == Isa::ref && !options.reference && options.isa != "ref") continue;
      if (!options.isa.empty() && options.isa != isa_name(candidate.isa)) continue;
      if (!options.product.empty() && options.product != product_name(product)) continue;
      const auto [seconds, pack, read, written] =
          time_conv_s8(candidate, layer.shape, product, pool, options.timing_of(layer.shape.n));
      const double behind = measure_int8_peak(pool), peak = std::max(before, behind);
      before = behind;
      const double gop = 2e-9 * static_cast<double>(layer.shape.macs()), gops = gop / seconds;
      // A neighbour that takes the cores for a moment makes a stream look slow.
      const double moving =
          std::min(measure_stream(pool, read, written), measure_stream(pool, read, written));
      const double least = std::max(moving, peak > 0 ? gop / peak : 0);
      report({{"network", layer.network},
              {"layer", layer.name},
              {"kernel", candidate.name},
              {"product", product_name(product)},
              {"ms", seconds * 1e3},
              {"pack_ms", pack * 1e3},
              {"gops", gops},
              {"peak_gops", peak},
              {"peak_share", peak > 0 ? gops / peak : 0},
              {"read_bytes", read},
              {"written_bytes", written},
              {"roof_share", least / seconds}},
             options.json);
    }
}

}  // namespace

int octavo::bench_kernels(int argc, char** argv) {
  Options options;
  CLI::App app("Speed of the integer convolution kernels");
  app.add_option("--threads", options.threads, "threads");
  app.add_option("--seconds", options.budget, "measuring time of each line");
  app.add_option("--filter", options.filter, "only layers whose `network layer` contains this text");
  app.add_option("--isa", options.isa, "only this instruction set");
  app.add_option("--product", options.product, "only this product")
      ->check(CLI::IsMember({"forward", "grad_input", "grad_weight"}));
  app.add_option("--results", options.results, "type of the results of forward and grad_input")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--a-planes", options.a_planes, "planes of A (8 bits each)")
      ->check(CLI::Range(1, most_planes));
  app.add_option("--b-planes", options.b_planes, "planes of B (8 bits each)")
      ->check(CLI::Range(1, most_planes));
  app.add_option("--classes", options.classes, "scale classes of samples in grad_weight")
      ->check(CLI::IsMember({"none", "octave", "half"}));
  app.add_flag("--ref", options.reference, "the reference too (slow)");
  app.add_flag("--json", options.json, "one JSON object per line");
  CLI11_PARSE(app, argc, argv);
  ThreadPool pool(options.threads);
  for (const Layer& layer : layers())
    if ((layer.network + " " + layer.name).find(options.filter) != std::string::npos)
      run_layer(layer, options, pool);
  return 0;
}
