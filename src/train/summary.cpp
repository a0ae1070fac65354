#include "train/summary.h"

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "core/check.h"
#include "core/memory.h"
#include "core/numerics.h"
#include "train/crc32c.h"

namespace octavo {
namespace {

constexpr const char* product_names[] = {"forward", "grad_input", "grad_weight"};

double share(const MacCount& macs, LayerProduct product) {
  const auto p = static_cast<std::size_t>(product);
  return macs.all[p] == 0 ? 0 : static_cast<double>(macs.integer[p]) / static_cast<double>(macs.all[p]);
}

// CRC32C of the first test samples: copies of a set that differ, such as recompressed images, show in the
// summary.
std::string data_checksum(const Dataset& data) {
  constexpr std::int64_t most_samples = 1000;
  const auto& fields = data.info().fields;
  std::vector<std::vector<std::byte>> values;
  std::vector<void*> pointers;
  for (const Field& field : fields) {
    values.emplace_back(static_cast<std::size_t>(field.type.bytes()));
    pointers.push_back(values.back().data());
  }
  std::uint32_t crc = 0;
  for (std::int64_t i = 0; i < std::min(most_samples, data.info().samples); ++i) {
    data.read(i, pointers);
    for (const auto& value : values) crc = crc32c(value, crc);
  }
  return crc_text(crc);
}

std::string without_batch(const Shape& shape) {
  const auto& sizes = shape.sizes();
  return sizes.size() < 2 ? shape.str()
                          : Shape(std::vector<std::int64_t>(sizes.begin() + 1, sizes.end())).str();
}

std::int64_t parameter_count(const Program& program, const Node& node) {
  std::int64_t count = 0;
  for (int index : node.parameters)
    count += program.parameters[static_cast<std::size_t>(index)].value.elements();
  return count;
}

std::int64_t node_macs(const Node& node) {
  if (!node.op->product) return 0;
  const Shape& x = node.signature->inputs[0].shape;
  return kernel_shape(node.op->product(*node.signature)).macs() / std::max<std::int64_t>(x[0], 1);
}

std::string operand_text(const SlotTable& slots, int slot) {
  return slot < 0 ? "-" : format_name(slots[slot].format);
}

// Visits the products of a plan, forward ones first within a layer.
template <class Visit>
void each_product(const Plan& plan, const Program& program, const Visit& visit) {
  for (const Layer& layer : program.layers)
    for (std::size_t p = 0; p < 3; ++p)
      for (const Node& node : plan.graph.nodes)
        if (node.layer >= 0 && &program.layers[static_cast<std::size_t>(node.layer)] == &layer &&
            node.products[p].used && !node.repeated)
          visit(layer, p, node.products[p]);
}

}  // namespace

Int8MacShare mac_share(const MacCount& macs) {
  return {share(macs, LayerProduct::forward), share(macs, LayerProduct::grad_input),
          share(macs, LayerProduct::grad_weight)};
}

std::string layer_table(const Program& program) {
  std::ostringstream out;
  std::int64_t parameters = 0, macs = 0;
  int width = 8;
  for (const Node& node : program.graph().nodes)
    width = std::max(width, static_cast<int>(node.name.size()) + 2);
  out << std::left << std::setw(width) << "layer" << std::setw(24) << "op" << std::setw(16) << "output"
      << std::right << std::setw(12) << "parameters" << std::setw(14) << "MACs" << '\n';
  for (const Node& node : program.graph().nodes) {
    const std::int64_t own = parameter_count(program, node), work = node_macs(node);
    out << std::left << std::setw(width) << node.name << std::setw(24) << node.op->type << std::setw(16)
        << without_batch(node.signature->outputs[0].shape) << std::right << std::setw(12) << own
        << std::setw(14) << work << '\n';
    parameters += own;
    macs += work;
  }
  out << std::left << std::setw(width + 40) << "total" << std::right << std::setw(12) << parameters
      << std::setw(14) << macs << "\n";
  return out.str();
}

std::string precision_plan(const Plan& plan, const Program& program) {
  std::ostringstream out;
  int width = 8;
  for (const Layer& layer : program.layers)
    width = std::max(width, static_cast<int>(layer.info.name.size()) + 2);
  out << std::left << std::setw(width) << "layer" << std::setw(13) << "product" << std::setw(24) << "data"
      << std::setw(24) << "other operand"
      << "kernel\n";
  each_product(plan, program, [&](const Layer& layer, std::size_t p, const ProductPlan& product) {
    out << std::setw(width) << layer.info.name << std::setw(13) << product_names[p] << std::setw(24)
        << (product.integer ? operand_text(program.slots, product.a_slot) : "fp32") << std::setw(24)
        << (product.integer ? operand_text(program.slots, product.b_slot) : "fp32") << product.kernel
        << (product.fallback.empty() ? "" : ": " + product.fallback) << '\n';
  });
  return out.str();
}

nlohmann::ordered_json precision_plan_json(const Plan& plan, const Program& program) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  each_product(plan, program, [&](const Layer& layer, std::size_t p, const ProductPlan& product) {
    nlohmann::ordered_json row{{"layer", layer.info.name},
                               {"product", product_names[p]},
                               {"integer", product.integer},
                               {"kernel", product.kernel},
                               {"macs", product.shape.macs()}};
    if (product.integer) {
      row["data"] = program.slots[product.a_slot].key;
      row["other"] = program.slots[product.b_slot].key;
    } else {
      row["why"] = product.fallback;
    }
    rows.push_back(std::move(row));
  });
  return rows;
}

nlohmann::ordered_json run_summary(Engine& engine, const EvalReport& last, const EvalReport& best,
                                   std::vector<double> step_seconds) {
  const Config& config = engine.config();
  const Int8MacShare macs = mac_share(engine.macs());
  const double all = std::accumulate(step_seconds.begin(), step_seconds.end(), 0.0);
  std::sort(step_seconds.begin(), step_seconds.end());
  const double median = step_seconds.empty() ? 0 : step_seconds[step_seconds.size() / 2];
  nlohmann::ordered_json summary{
      {"policy", config.precision().policy},
      {"model", std::filesystem::path(config.model().file).stem().string()},
      {"data", config.data().set},
      {"procedural", engine.train_info().procedural},
      {"data_crc32c", data_checksum(engine.test_set())},
      {"numerics_version", numerics_version},
      {"device", engine.runner().device()},
      {"isa", kernels::isa_name(kernels::active_isa())},
      {"seed", config.train().seed},
      {"steps", engine.steps_done()},
      {"metric_name", last.metric_name},
      {"metric", last.metric},
      {"loss", last.loss},
      {"best_metric", best.metric},
      {"best_step", best.step},
      {"int8_mac_share",
       {{"forward", macs.forward}, {"grad_input", macs.grad_input}, {"grad_weight", macs.grad_weight}}},
      {"step_ms_median", 1000 * median},
      {"precision_share", all > 0 ? engine.program().runtime().precision_seconds / all : 0},
      {"samples_per_second",
       median > 0 ? static_cast<double>(config.data().batch * config.gradient().accumulate) / median : 0},
      {"peak_bytes", peak_resident_bytes()}};
  if (const std::int64_t bytes = engine.runner().device_peak_bytes(); bytes > 0) {
    summary["device_name"] = engine.runner().device_name();
    summary["device_peak_bytes"] = bytes;
  }
  nlohmann::ordered_json in_float = nlohmann::ordered_json::array();
  each_product(
      engine.training_plan(), engine.program(),
      [&](const Layer& layer, std::size_t p, const ProductPlan& product) {
        if (!product.integer && config.precision().policy != "fp32")
          in_float.push_back(
              {{"layer", layer.info.name}, {"product", product_names[p]}, {"why", product.fallback}});
      });
  summary["fp32_products"] = std::move(in_float);
  return summary;
}

}  // namespace octavo
