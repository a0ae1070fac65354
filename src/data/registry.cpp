// The data sets by name: the built-in list and what the embedder registered.
#include <mutex>

#include "core/check.h"
#include "data/builtin.h"

namespace octavo {

namespace {

struct Entry {
  std::string name;
  DatasetFactory factory;
  std::function<std::optional<DatasetInfo>(const DataRequest&)> describe;
  std::string help;
};

const std::vector<Entry>& builtin_entries() {
  static const std::vector<Entry> entries = {
#define OCTAVO_DATASET(name, factory, describe, help) {name, factory, describe, help},
#include "data/dataset_list.inc"
#undef OCTAVO_DATASET
  };
  return entries;
}

struct Registered {
  std::mutex mutex;
  std::map<std::string, Entry> entries;
};

Registered& registered() {
  static Registered state;
  return state;
}

DatasetFactory find_factory(const std::string& name) {
  for (const Entry& entry : builtin_entries())
    if (entry.name == name) return entry.factory;
  Registered& state = registered();
  const std::lock_guard lock(state.mutex);
  const auto found = state.entries.find(name);
  return found == state.entries.end() ? DatasetFactory{} : found->second.factory;
}

}  // namespace

const char* split_name(Split split) { return split == Split::train ? "train" : "test"; }

const Field& DatasetInfo::field(const std::string& wanted) const {
  std::string names;
  for (const Field& candidate : fields) {
    if (candidate.name == wanted) return candidate;
    names += (names.empty() ? "" : ", ") + candidate.name;
  }
  fail(Errc::config, "data set '", name, "' has no field '", wanted, "'; it has ",
       names.empty() ? "none" : names);
}

void Dataset::read_crop(std::int64_t, const ChooseRegion&, std::span<void* const>) const {
  fail(Errc::config, "data set '", info().name, "': its images have one size and are read whole");
}

std::shared_ptr<const Dataset> open_dataset(const DataRequest& request) {
  // Negated, so that NaN is refused too.
  require(request.fraction > 0 && request.fraction <= 1, Errc::config, "data.fraction: ", request.fraction,
          " is not in (0, 1]");
  const DatasetFactory factory = find_factory(request.set);
  if (!factory) {
    std::string names;
    for (const DatasetListing& entry : list_datasets()) names += (names.empty() ? "" : ", ") + entry.name;
    fail(Errc::config, "data.set: unknown data set '", request.set, "'; known: ", names);
  }
  std::shared_ptr<const Dataset> data = factory(request);
  require(data != nullptr, Errc::internal, "data set '", request.set, "': its factory returned nothing");
  require(data->info().samples > 0, Errc::data, "data set '", request.set, "': the ",
          split_name(request.split), " split is empty");
  return take_fraction(std::move(data), request);
}

std::optional<DatasetInfo> published_info(const DataRequest& request) {
  for (const Entry& entry : builtin_entries())
    if (entry.name == request.set) return entry.describe(request);
  return {};
}

void register_dataset(const std::string& name, DatasetFactory factory, const std::string& help) {
  require(!name.empty() && factory != nullptr, Errc::config, "a data set needs a name and a factory");
  bool added = true;
  for (const Entry& entry : builtin_entries()) added = added && entry.name != name;
  Registered& state = registered();
  const std::lock_guard lock(state.mutex);
  added = added && state.entries.try_emplace(name, Entry{name, std::move(factory), {}, help}).second;
  require(added, Errc::config, "data set '", name, "' is registered already");
}

std::vector<DatasetListing> list_datasets() {
  std::vector<DatasetListing> list;
  for (const Entry& entry : builtin_entries()) list.push_back({entry.name, entry.help});
  Registered& state = registered();
  const std::lock_guard lock(state.mutex);
  for (const auto& [name, entry] : state.entries) list.push_back({name, entry.help});
  return list;
}

}  // namespace octavo
