// The parts of a training as a configuration describes them. What a key of the configuration causes carries
// its place: "a.yaml:4:3: data.augment: ...".
#pragma once

#include <memory>

#include "config/config_impl.h"
#include "config/model_language.h"
#include "data/loader.h"
#include "exec/program.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

namespace octavo {

struct DataSets {
  std::shared_ptr<const Dataset> train, test;
};

DataRequest data_request(const Config& config, Split split);
DataSets open_data_sets(const Config& config);
std::unique_ptr<Loader> make_loader(const Config& config, std::shared_ptr<const Dataset> data, Split split);

/// With what the data set fixes of a model: sizes of its inputs, number of classes.
ModelRequest model_request(const Config& config, const DatasetInfo& data);

/// Fields of a full batch; u8 images arrive as f32.
BatchTypes batch_types(const DatasetInfo& data, std::int64_t batch);

Schedule make_schedule(const Config& config, std::int64_t steps_per_epoch, std::int64_t total_steps);

/// Errc::resource when its state does not fit beside the parameters.
std::unique_ptr<Optimizer> make_program_optimizer(const Config& config, const Program& program);

/// Runs `work`; an error that begins with a key of the configuration gets the place of that key.
template <class Work>
auto placed(const Config& config, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw at_key(config, error);
  }
}

}  // namespace octavo
