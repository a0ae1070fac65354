// What the run was: summary, machine and configuration, as its files say.
#include "train/report/markup.h"
#include "train/report/sections.h"
#include "train/report/text.h"

namespace octavo::report {
namespace {

using Json = nlohmann::ordered_json;

std::string json_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return number_text(value.get<double>(), 6);
  if (value.is_null()) return "–";
  return value.dump();
}

void add_row(Markup& out, const std::string& name, const std::string& value) {
  out.open("tr").element("th", {{"scope", "row"}}, name).element("td", {}, value).close();
}

void add_members(Markup& out, const Json& object, const std::string& prefix) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object())
      add_members(out, value, prefix + key + ".");
    else if (value.is_array() && key == "fp32_products")
      add_row(out, key, std::to_string(value.size()) + " (see the plan)");
    else
      add_row(out, prefix + key, json_text(value));
  }
}

void table(Markup& out, const std::string& title, const Json& object, const std::string& missing) {
  out.open("div", {{"class", "part"}}).element("h3", {}, title);
  if (object.empty()) {
    out.element("p", {{"class", "empty"}}, missing).close();
    return;
  }
  out.open("table", {{"class", "facts"}}).open("tbody");
  add_members(out, object, "");
  out.close().close().close();
}

}  // namespace

std::string facts_section(const RunRecord& run) {
  Markup out;
  out.open("div", {{"class", "grid"}});
  table(out, "summary.json", run.summary, "The run has not reached its last step: it has no summary yet.");
  table(out, "env.json", run.environment, "The run did not record its machine.");
  out.close().open("details").element("summary", {}, "config.yaml").element("pre", {}, run.config).close();
  out.element("p", {{"class", "note"}}, run.path.string());
  return out.take();
}

}  // namespace octavo::report
