#include "lab/fidelity.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "core/check.h"

namespace octavo {
namespace {

constexpr const char* product_names[] = {"forward", "grad_input", "grad_weight"};

/// Mean and largest value of one product's error over layers.
struct Summary {
  double sum = 0, worst = 0, gain = 0;
  int count = 0;
  void add(const ProductError& error) {
    sum += error.cosine_distance;
    gain += error.gain_error;
    worst = std::max(worst, error.cosine_distance);
    ++count;
  }
};

struct Group {
  std::int64_t step;
  std::string policy;
  std::array<Summary, 3> products;
  double gradient_bits = 0;
  int layers = 0;
};

std::vector<Group> grouped(const std::vector<FidelityRow>& rows) {
  std::vector<Group> groups;
  for (const FidelityRow& row : rows) {
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return group.step == row.step && group.policy == row.policy;
    });
    if (found == groups.end()) found = groups.insert(groups.end(), Group{row.step, row.policy, {}});
    for (std::size_t p = 0; p < 3; ++p)
      if (row.errors.products[p]) found->products[p].add(*row.errors.products[p]);
    found->gradient_bits += row.errors.bits[static_cast<std::size_t>(Operand::gradient)];
    ++found->layers;
  }
  return groups;
}

}  // namespace

void visit_layers(Engine& engine, const std::function<void(const LayerTensors&)>& visit) {
  Program& program = engine.program();
  const std::vector<bool> non_negative = non_negative_values(engine.training_plan().graph);
  program.after_node = [&](const Plan& plan, const Node& node) {
    if (node.pass != Pass::backward || !node.op->product) return;
    const Layer& layer = program.layers[static_cast<std::size_t>(node.layer)];
    require(node.inputs[0] != no_value && node.grad_outputs[0] != no_value, Errc::internal, "layer '",
            layer.info.name, "' keeps no float tensors: fidelity needs precision.policy=fp32");
    LayerTensors tensors{layer.info, node.op->product(*node.signature)};
    tensors.x = static_cast<const float*>(program.value(plan, node.inputs[0]));
    tensors.g = static_cast<const float*>(program.value(plan, node.grad_outputs[0]));
    tensors.w = program.parameters[static_cast<std::size_t>(node.parameters[0])].value.as<float>().data();
    tensors.x_non_negative = non_negative[static_cast<std::size_t>(plan.graph.root(node.inputs[0]))];
    visit(tensors);
  };
  try {
    engine.step();
  } catch (...) {
    program.after_node = {};
    throw;
  }
  program.after_node = {};
}

std::vector<FidelityRow> measure_fidelity(Engine& engine,
                                          const std::map<std::string, PrecisionSettings>& policies) {
  std::vector<FidelityRow> rows;
  const std::int64_t step = engine.steps_done();
  Runtime& runtime = engine.program().runtime();
  visit_layers(engine, [&](const LayerTensors& layer) {
    const LayerReference reference = reference_products(runtime, layer);
    for (const auto& [name, settings] : policies)
      rows.push_back({step, layer.info.name, name, layer.info.depthwise,
                      probe_layer(runtime, settings, layer, reference)});
  });
  return rows;
}

std::string fidelity_table(const std::vector<FidelityRow>& rows) {
  std::ostringstream out;
  out << "Cosine distance to FP32, mean over layers / worst layer, and mean gain error of dW; bits of G\n\n"
      << "| step | policy | Y | dX | dW | gain dW | bits G |\n|---|---|---|---|---|---|---|\n";
  out << std::fixed;
  for (const Group& group : grouped(rows)) {
    out << "| " << group.step << " | " << group.policy;
    for (const Summary& product : group.products) {
      out << " | " << std::setprecision(5);
      if (product.count == 0)
        out << "-";
      else
        out << product.sum / product.count << " / " << product.worst;
    }
    const Summary& dw = group.products[2];
    out << " | " << std::setprecision(4) << (dw.count ? dw.gain / dw.count : 0) << " | "
        << std::setprecision(1) << group.gradient_bits / group.layers << " |\n";
  }
  return out.str();
}

nlohmann::ordered_json fidelity_json(const std::vector<FidelityRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FidelityRow& row : rows) {
    nlohmann::ordered_json item{
        {"step", row.step}, {"layer", row.layer}, {"policy", row.policy}, {"depthwise", row.depthwise}};
    for (std::size_t p = 0; p < 3; ++p)
      if (row.errors.products[p])
        item[product_names[p]] = {{"cosine_distance", row.errors.products[p]->cosine_distance},
                                  {"gain_error", row.errors.products[p]->gain_error}};
    item["bits"] = row.errors.bits;
    item["learning_rate_factor"] = row.errors.learning_rate_factor;
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace octavo
