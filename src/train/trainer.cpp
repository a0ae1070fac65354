// The public faces of the engine: Trainer, and the catalog of what may be named.
#include "octavo/trainer.h"

#include "core/check.h"
#include "data/transform.h"
#include "octavo/data.h"
#include "precision/registry.h"
#include "train/engine.h"
#include "train/safetensors.h"
#include "train/summary.h"

namespace octavo {

Catalog catalog() {
  Catalog result;
  result.data_sets.clear();
  for (const DatasetListing& set : list_datasets()) result.data_sets.push_back(set.name);
  result.augmentations.clear();
  for (const Transform& transform : transforms()) result.augmentations.push_back(transform.name);
  result.optimizers.clear();
  for (const OptimizerEntry& entry : optimizer_entries()) result.optimizers.push_back(entry.name);
  result.policies.clear();
  for (const PolicyDef& policy : policies())
    result.policies.push_back({policy.name, policy.aliases, policy.options});
  result.share_folder = OCTAVO_SHARE_FOLDER;
  return result;
}

struct Trainer::Impl {
  explicit Impl(const Config& config) : engine(config) {}
  Engine engine;
};

Trainer::Trainer(const Config& config) : impl_(std::make_unique<Impl>(config)) {}
Trainer::~Trainer() = default;

StepReport Trainer::step() { return impl_->engine.step(); }
EvalReport Trainer::evaluate() { return impl_->engine.evaluate(); }
std::int64_t Trainer::steps_done() const { return impl_->engine.steps_done(); }
std::int64_t Trainer::total_steps() const { return impl_->engine.total_steps(); }
std::int64_t Trainer::steps_per_epoch() const { return impl_->engine.steps_per_epoch(); }
std::string Trainer::describe() const { return layer_table(impl_->engine.program()); }
std::string Trainer::precision_plan() const {
  return octavo::precision_plan(impl_->engine.training_plan(), impl_->engine.program());
}
Int8MacShare Trainer::int8_mac_share() const { return mac_share(impl_->engine.macs()); }

Tensor Trainer::parameter(const std::string& name) const {
  impl_->engine.fetch();
  for (const ParameterData& data : impl_->engine.program().parameters)
    if (data.name == name) return data.value;
  fail(Errc::config, "the model has no parameter '", name, "'");
}

void Trainer::save_model(const std::string& path) const {
  write_safetensors(path, impl_->engine.state().model);
}

}  // namespace octavo
