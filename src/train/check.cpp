#include "train/check.h"

#include <optional>

#include "core/check.h"
#include "data/builtin.h"
#include "graph/build.h"

namespace octavo {
namespace {

/// Stands for a set whose files cannot be read: it has sizes and no samples.
class PublishedSet final : public Dataset {
 public:
  explicit PublishedSet(DatasetInfo info) : info_(std::move(info)) {}
  const DatasetInfo& info() const override { return info_; }
  void read(std::int64_t, std::span<void* const>) const override {
    fail(Errc::data, "data set '", info_.name, "' could not be opened");
  }

 private:
  DatasetInfo info_;
};

std::shared_ptr<const Dataset> published(const Config& config, Split split) {
  const DataRequest request = data_request(config, split);
  std::optional<DatasetInfo> info = published_info(request);
  return info ? take_fraction(std::make_shared<PublishedSet>(std::move(*info)), request) : nullptr;
}

class Check {
 public:
  CheckedConfig run(const std::string& path, const std::vector<std::string>& overrides) {
    const Config config = Config::Impl::load(path, overrides, catalog(), problems_);
    const bool right = problems_.empty();
    CheckedConfig result;
    const DataSets data = open(config, right);
    if (data.train && data.test && model_is_right(config, data.train->info())) build(config, data, result);
    if (!problems_.empty() && !data_error_.empty()) problems_.add(Error(Errc::config, data_error_));
    problems_.throw_if_any();
    if (!result.engine) fail(Errc::data, data_error_);
    result.missing_data = data_error_;
    return result;
  }

 private:
  DataSets open(const Config& config, bool right) {
    try {
      if (!config.data().set.empty()) return open_data_sets(config);
    } catch (const Error& error) {
      if (error.code() == Errc::config) note(error);
      if (error.code() == Errc::data) data_error_ = error.what();
      if (error.code() != Errc::config && error.code() != Errc::data && right) throw;
    }
    return data_error_.empty() ? DataSets{}
                               : DataSets{published(config, Split::train), published(config, Split::test)};
  }

  bool model_is_right(const Config& config, const DatasetInfo& data) {
    if (config.model().file.empty()) return false;
    Problems own;
    try {
      Graph graph = build_graph(load_model(model_request(config, data), own), own);
      bind_types(graph, batch_types(data, config.data().batch));
      infer_types(graph, own);
    } catch (const Error& error) {
      if (error.code() != Errc::config) throw;
      own.add(error);
    }
    problems_.add(own);
    return own.empty();
  }

  // The rest by building it: memory, names of layers, schedule, kernels, both phases.
  void build(const Config& config, const DataSets& data, CheckedConfig& result) {
    const bool right = problems_.empty();
    try {
      result.engine = std::make_unique<Engine>(config, data);
      result.engine->evaluation_plan();
    } catch (const Error& error) {
      if (error.code() == Errc::config) return note(error);
      if (right) throw;
    }
  }

  void note(const Error& error) { problems_.add(error); }

  Problems problems_;
  std::string data_error_;
};

}  // namespace

CheckedConfig check_configuration(const std::string& path, const std::vector<std::string>& overrides) {
  return Check().run(path, overrides);
}

}  // namespace octavo
