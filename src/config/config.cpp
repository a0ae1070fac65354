// Config: load, override, look up paths, dump.
#include "octavo/config.h"

#include <cmath>
#include <filesystem>
#include <sstream>

#include "config/config_impl.h"
#include "config/field.h"
#include "config/merge.h"
#include "config/model_language.h"
#include "config/schema.h"
#include "core/check.h"

namespace octavo {
namespace {

// Folder that a relative path in `node` starts from: that of the file it is written in.
std::string folder_of(const YamlNode& node, const std::string& config_path) {
  const bool from_file = node.position.line > 0 && node.position.source;
  return parent_folder(from_file ? *node.position.source : config_path);
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

void locate_model(Config::Impl& impl, Problems& problems) {
  ModelSettings& model = impl.settings.model;
  try {
    if (!model.use.empty())
      model.file = find_model(model.use, impl.folders, find_path(impl.document, "model.use")->position);
    if (const YamlNode* file = find_path(impl.document, "model.file");
        file != nullptr && !model.file.empty() && model.use.empty()) {
      const auto places = places_of(model.file, folder_of(*file, impl.path));
      model.file = first_existing(places);
      if (model.file.empty())
        fail_at(file->position, "model file '" + file->text + "' not found; tried " + join(places));
    }
  } catch (const Error& error) {
    problems.add(error);
  }
}

void locate_plan(Config::Impl& impl, Problems& problems) {
  std::string& plan = impl.settings.plan;
  const YamlNode* node = find_path(impl.document, "plan");
  if (node == nullptr || plan.empty()) return;
  const auto places = places_of(plan, folder_of(*node, impl.path));
  plan = first_existing(places);
  if (plan.empty())
    problems.add(node->position, "plan file '" + node->text + "' not found; tried " + join(places));
}

void locate_data(Config::Impl& impl) {
  std::string& path = impl.settings.data.path;
  impl.missing_data_places.clear();
  if (path.empty()) return;
  const auto places = places_of(path, folder_of(*find_path(impl.document, "data.path"), impl.path));
  const std::string found = first_existing(places);
  path = found.empty() ? places.front() : found;
  impl.missing_data_places = found.empty() ? places : std::vector<std::string>{};
}

// Merges, checks and resolves; `impl` holds path, catalog, file and overrides.
void resolve(Config::Impl& impl, Problems& problems) {
  impl.document = impl.file;
  int number = 0;
  for (const std::string& override_text : impl.overrides) {
    try {
      merge_into(impl.document, parse_override(override_text, ++number));
    } catch (const Error& error) {
      problems.add(error);
    }
  }
  impl.settings = read_settings(impl.document, impl.catalog, problems);
  impl.folders = model_folders(parent_folder(impl.path), impl.catalog.share_folder);
  locate_model(impl, problems);
  locate_plan(impl, problems);
  locate_data(impl);
}

}  // namespace

std::int64_t Duration::steps(std::int64_t steps_per_epoch) const {
  return std::llround(in_epochs ? count * static_cast<double>(steps_per_epoch) : count);
}

std::string Duration::str() const {
  return format_number(count) +
         (in_epochs ? (count == 1 ? " epoch" : " epochs") : (count == 1 ? " step" : " steps"));
}

Config Config::Impl::load(const std::string& path, const std::vector<std::string>& overrides,
                          const Catalog& catalog, Problems& problems) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->catalog = catalog;
  impl->file = read_with_includes(path);
  impl->overrides = overrides;
  resolve(*impl, problems);
  // A length that is missing is one problem, not one of the schedule as well.
  TrainSettings& train = impl->settings.train;
  if (!problems.empty() && train.epochs == 0 && train.steps == 0) train.epochs = 1'000'000;
  return Config(std::move(impl));
}

Config Config::load(const std::string& path, const std::vector<std::string>& overrides,
                    const Catalog& catalog) {
  Problems problems;
  Config config = Impl::load(path, overrides, catalog, problems);
  problems.throw_if_any();
  return config;
}

Config& Config::set(std::string_view key, std::string_view value) {
  auto changed = std::make_shared<Impl>(*impl_);
  changed->overrides.push_back(concat(key, "=", value));
  Problems problems;
  resolve(*changed, problems);
  problems.throw_if_any();
  impl_ = std::move(changed);
  return *this;
}

Error at_key(const Config& config, const Error& error) {
  std::istringstream lines(error.what());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const YamlNode* node = find_path(config.impl().document, line.substr(0, line.find(": ")));
    text += (text.empty() ? "" : "\n") + (node == nullptr ? "" : node->position.str() + ": ") + line;
  }
  return {error.code(), text};
}

std::string Config::dump() const { return write_settings(impl_->settings, impl_->catalog); }

const Settings& Config::settings() const { return impl_->settings; }

std::string Config::name() const { return std::filesystem::path(impl_->path).stem().string(); }

std::vector<std::string> Config::places(const std::string& path) const {
  return places_of(path, parent_folder(impl_->path));
}

}  // namespace octavo
