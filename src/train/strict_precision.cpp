#include "train/strict_precision.h"

#include "core/check.h"

namespace octavo {

void require_asked_precision(const Plan& plan, const Program& program, const PrecisionSettings& settings) {
  if (settings.policy == "fp32") return;
  const ProductSettings& products = settings.products;
  const std::pair<const char*, const std::string*> asked[] = {{"forward", &products.forward},
                                                              {"grad_input", &products.grad_input},
                                                              {"grad_weight", &products.grad_weight}};
  std::string problems;
  for (const Node& node : plan.graph.nodes)
    for (std::size_t p = 0; p < 3; ++p) {
      const ProductPlan& product = node.products[p];
      if (!product.used || product.integer || node.repeated || *asked[p].second == "fp32") continue;
      const Layer& layer = program.layers[static_cast<std::size_t>(node.layer)];
      if (layer.kept_fp32) continue;
      problems += concat("\n  ", layer.info.name, " ", asked[p].first, ": ", product.fallback);
    }
  require(problems.empty(), Errc::config, "precision.strict: products that run in fp32 although policy '",
          settings.policy,
          "' was asked for; name them in precision.keep_fp32 or precision.products:", problems);
}

}  // namespace octavo
