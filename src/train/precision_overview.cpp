#include "train/precision_overview.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "core/check.h"

namespace octavo {
namespace {

constexpr const char* product_names[] = {"forward", "grad_input", "grad_weight"};
constexpr std::size_t most_names = 3;  // layers named in one line; more are counted

/// Products that were asked for and granted alike.
struct Situation {
  std::size_t product = 0;
  std::string asked, granted, kernel, why;
  std::vector<std::string> layers;
  double macs = 0;
  bool same(const Situation& other) const {
    return product == other.product && asked == other.asked && granted == other.granted &&
           kernel == other.kernel && why == other.why;
  }
};

std::string formats_text(const ProductFormat& format) {
  return format.integer ? format_name(format.data) + " x " + format_name(format.other) : "fp32";
}

Situation situation_of(const Layer& layer, std::size_t p, const ProductPlan& product,
                       const SlotTable& slots) {
  const ProductFormat* formats[] = {&layer.formats.forward, &layer.formats.grad_input,
                                    &layer.formats.grad_weight};
  Situation situation{p, formats_text(*formats[p]), "fp32", product.kernel, product.fallback};
  if (product.integer)
    situation.granted =
        format_name(slots[product.a_slot].format) + " x " + format_name(slots[product.b_slot].format);
  situation.layers = {layer.info.name};
  situation.macs = static_cast<double>(product.shape.macs());
  return situation;
}

std::vector<Situation> situations(const Plan& plan, const Program& program) {
  std::vector<Situation> all;
  for (std::size_t p = 0; p < 3; ++p)
    for (const Layer& layer : program.layers)
      for (const Node& node : plan.graph.nodes) {
        if (node.layer < 0 || &program.layers[static_cast<std::size_t>(node.layer)] != &layer ||
            !node.products[p].used || node.repeated)
          continue;
        const Situation one = situation_of(layer, p, node.products[p], program.slots);
        const auto known =
            std::find_if(all.begin(), all.end(), [&](const Situation& s) { return s.same(one); });
        if (known == all.end()) {
          all.push_back(one);
          continue;
        }
        known->layers.push_back(layer.info.name);
        known->macs += one.macs;
      }
  return all;
}

std::string layers_text(const std::vector<std::string>& layers) {
  if (layers.size() > most_names) return concat(layers.size(), " layers");
  std::string text;
  for (const std::string& name : layers) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string precision_overview(const Plan& plan, const Program& program) {
  const std::vector<Situation> all = situations(plan, program);
  double macs[3] = {};
  for (const Situation& s : all) macs[s.product] += s.macs;
  std::ostringstream out;
  out << "precision plan (share of multiply-adds, layers: asked; granted, kernel):\n" << std::fixed;
  for (const Situation& s : all) {
    out << "  " << std::left << std::setw(12) << product_names[s.product] << std::right << std::setw(5)
        << std::setprecision(1) << 100 * s.macs / macs[s.product] << "%  " << layers_text(s.layers) << ": "
        << (s.asked == s.granted ? "" : s.asked + " asked; ") << s.granted << " by " << s.kernel
        << (s.why.empty() ? "" : ", " + s.why) << '\n';
  }
  return out.str();
}

}  // namespace octavo
