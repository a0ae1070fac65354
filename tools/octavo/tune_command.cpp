// octavo tune: times the bit-equal integer kernels that can run each product of a training and writes a plan
// file for `plan:` of a configuration.
#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>

#include "commands.h"
#include "core/check.h"
#include "exec/kernel_plan.h"
#include "time_conv_s8.h"
#include "train/engine.h"
#include "train/run_folder.h"

namespace octavo::cli {
namespace {

constexpr int rounds = 3;                // candidates take turns, so that drift of the machine meets all
constexpr double worth_changing = 0.97;  // of the default's time: less gain may be noise

struct TuneArguments {
  ConfigArguments config;
  std::string out;
  double seconds = 0.1;
};

/// A product to tune, with what its timing needs to know of its operands.
struct Wanted {
  TunedProduct tuned;
  ConvTiming timing;
};

std::vector<Wanted> integer_products(Engine& engine) {
  std::vector<Wanted> all;
  const SlotTable& slots = engine.program().slots;
  for (const Node& node : engine.training_plan().graph.nodes)
    for (std::size_t p = 0; p < node.products.size(); ++p) {
      const ProductPlan& product = node.products[p];
      if (!product.used || !product.integer || node.repeated) continue;
      const auto kind = static_cast<kernels::Product>(p);
      const std::string& layer = engine.program().layers[static_cast<std::size_t>(node.layer)].info.name;
      const auto known = std::find_if(all.begin(), all.end(), [&](const Wanted& other) {
        return other.tuned.product == kind && other.tuned.shape == product.shape;
      });
      if (known != all.end()) {
        known->tuned.layers.push_back(layer);
        continue;
      }
      Wanted wanted;
      wanted.tuned = {kind, product.shape, nullptr, {}, {layer}};
      wanted.timing.a_planes = product.a_planes, wanted.timing.b_planes = product.b_planes;
      if (slots[product.b_slot].format.granularity == ScaleGranularity::sample_class)
        wanted.timing.classes = draw_sample_classes(product.shape.n, true);
      all.push_back(std::move(wanted));
    }
  return all;
}

// The fastest of the candidates; the first of the list where nothing is clearly faster.
void tune(Wanted& wanted, ThreadPool& pool, double seconds) {
  TunedProduct& tuned = wanted.tuned;
  std::vector<const kernels::ConvS8Candidate*> candidates;
  for (const kernels::ConvS8Candidate& candidate : kernels::conv_s8_candidates()) {
    const bool runs = candidate.isa <= kernels::active_isa() &&
                      (candidate.isa != kernels::Isa::ref || candidates.empty()) &&
                      candidate.refuse(tuned.shape, tuned.product).empty();
    if (runs) candidates.push_back(&candidate);
  }
  wanted.timing.budget = seconds / rounds;
  std::vector<double> best(candidates.size(), 1e30);
  for (int round = 0; round < rounds && candidates.size() > 1; ++round)
    for (std::size_t i = 0; i < candidates.size(); ++i)
      best[i] = std::min(best[i],
                         time_conv_s8(*candidates[i], tuned.shape, tuned.product, pool, wanted.timing).run);
  const auto fastest = static_cast<std::size_t>(std::min_element(best.begin(), best.end()) - best.begin());
  tuned.kernel = candidates[best[fastest] < worth_changing * best[0] ? fastest : 0];
  for (std::size_t i = 0; i < candidates.size() && candidates.size() > 1; ++i)
    tuned.milliseconds.emplace_back(candidates[i]->name, 1000 * best[i]);
}

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  require(file.good(), Errc::resource, "cannot write '", path, "'");
}

int tune_command(const TuneArguments& arguments) {
  Engine engine(arguments.config.load());
  ThreadPool& pool = engine.program().runtime().pool;
  KernelPlan plan;
  plan.isa = kernels::isa_name(kernels::active_isa());
  plan.threads = pool.threads();
  plan.cpu = describe_environment(plan.isa, pool.threads()).at("cpu");
  std::vector<Wanted> products = integer_products(engine);
  double before = 0, after = 0;
  for (Wanted& wanted : products) {
    tune(wanted, pool, arguments.seconds);
    const auto layers = static_cast<double>(wanted.tuned.layers.size());
    for (const auto& [name, ms] : wanted.tuned.milliseconds) {
      if (name == wanted.tuned.milliseconds[0].first) before += ms * layers;
      if (name == wanted.tuned.kernel->name) after += ms * layers;
    }
    std::cerr << std::left << std::setw(12) << product_name(wanted.tuned.product) << std::setw(24)
              << wanted.tuned.kernel->name << wanted.tuned.layers[0] << '\n';
    plan.products.push_back(wanted.tuned);
  }
  std::cerr << std::fixed << std::setprecision(2) << "products with a choice, ms of a step: " << before
            << " with the first of the list, " << after << " with the chosen\n";
  const std::string text =
      plan.text("Written by octavo tune " + arguments.config.path + ": kernels of integer products.");
  if (arguments.out.empty())
    std::cout << text;
  else
    write(arguments.out, text);
  return 0;
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<TuneArguments>();
  CLI::App* sub =
      app.add_subcommand("tune", "choose the fastest of the bit-equal integer kernels on this machine");
  arguments->config.add_to(*sub);
  sub->add_option("--out", arguments->out, "plan file for `plan:` of a configuration; default: printed");
  sub->add_option("--seconds", arguments->seconds, "measuring time of each kernel and product")
      ->check(CLI::Range(0.0, 60.0));
  sub->callback([arguments, &action] { action = [arguments] { return tune_command(*arguments); }; });
}

}  // namespace octavo::cli
