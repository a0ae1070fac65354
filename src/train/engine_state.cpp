// What a checkpoint holds of an engine, and how it comes back.
#include <algorithm>
#include <cstring>
#include <map>

#include "core/check.h"
#include "train/engine.h"

namespace octavo {
namespace {

// Lists everything that differs in name or shape, so that one message tells it all.
void compare_names(const NamedTensors& saved, const std::map<std::string, Tensor>& wanted) {
  std::string problems;
  for (const NamedTensor& entry : saved) {
    const auto found = wanted.find(entry.name);
    if (found == wanted.end())
      problems += concat("\n  '", entry.name, "' ", entry.tensor.shape().str(), " is not in the model");
    else if (found->second.type() != entry.tensor.type())
      problems += concat("\n  '", entry.name, "' is ", entry.tensor.shape().str(), ", the model has ",
                         found->second.shape().str());
  }
  for (const auto& [name, tensor] : wanted) {
    const auto is_it = [&wanted_name = name](const NamedTensor& entry) { return entry.name == wanted_name; };
    if (std::none_of(saved.begin(), saved.end(), is_it))
      problems += concat("\n  '", name, "' ", tensor.shape().str(), " is missing");
  }
  require(problems.empty(), Errc::checkpoint, "the checkpoint does not fit the model:", problems);
}

std::map<std::string, Tensor> model_tensors(const Program& program) {
  std::map<std::string, Tensor> tensors;
  for (const ParameterData& data : program.parameters) tensors[data.name] = data.value;
  for (const StateData& data : program.states) tensors[data.name] = data.value;
  return tensors;
}

template <class Work>
void read_state(const Work& work) {
  try {
    work();
  } catch (const nlohmann::json::exception& error) {
    fail(Errc::checkpoint, "state.json of the checkpoint: ", error.what());
  }
}

}  // namespace

CheckpointContent Engine::state() const {
  runner_->fetch();
  CheckpointContent content;
  for (const auto& [name, tensor] : model_tensors(*program_)) content.model.push_back({name, tensor});
  content.optimizer = optimizer_->state();
  const LoaderCursor cursor = train_data_->cursor();
  content.state = {
      {"step", runtime_.step}, {"seed", config_.train().seed},         {"epoch", cursor.epoch},
      {"batch", cursor.batch}, {"policy", config_.precision().policy}, {"precision", controller_->state()}};
  return content;
}

void Engine::restore_model(const CheckpointContent& content) {
  std::map<std::string, Tensor> wanted = model_tensors(*program_);
  compare_names(content.model, wanted);
  read_state([&] {
    const std::string policy = content.state.at("policy");
    require(policy == config_.precision().policy, Errc::checkpoint,
            "the checkpoint was saved with precision policy '", policy, "', this configuration has '",
            config_.precision().policy, "'");
    const auto step = content.state.at("step").get<std::int64_t>();
    require(step >= 0, Errc::checkpoint, "state.json of the checkpoint holds step ", step);
    controller_->load_state(content.state.at("precision"));
    program_->reset_plans();  // widths are part of that state
    runtime_.step = step;
  });
  for (const NamedTensor& entry : content.model)
    std::memcpy(wanted.at(entry.name).data(), entry.tensor.data(),
                static_cast<std::size_t>(entry.tensor.bytes()));
  program_->weights_changed();
  runner_->store();
}

void Engine::load_state(const CheckpointContent& content) {
  restore_model(content);
  read_state([&] {
    optimizer_->load_state(content.optimizer);
    runner_->store();
    train_data_->seek({content.state.at("epoch").get<std::int64_t>(), content.state.at("batch")});
  });
}

}  // namespace octavo
