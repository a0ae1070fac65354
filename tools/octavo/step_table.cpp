#include "step_table.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <map>
#include <sstream>

namespace octavo::cli {
namespace {

using Json = nlohmann::ordered_json;

// GOP/s and share of the peak of the arithmetic that a product runs in; GB/s and shares of the copies.
void add_rates(Json& row, const StepRow& from, const Peaks& peaks) {
  const double ms = from.time.ms(), gbps = 1e-6 * static_cast<double>(from.bytes) / ms;
  row["ms"] = ms;
  if (from.operations > 0) {
    const double peak = from.integer ? peaks.int8_gops : peaks.fp32_gops;
    const double done = from.integer ? from.int8_operations : from.operations;
    row["gops"] = 1e-6 * from.operations / ms;
    if (peak > 0) row["peak_share"] = 1e-6 * done / ms / peak;
  }
  row["bytes"] = from.bytes;
  row["gbps"] = gbps;
  row["cache_copy_share"] = gbps / peaks.cache_gbps;
  row["memory_copy_share"] = gbps / peaks.memory_gbps;
}

std::vector<StepRow> in_order(const StepTimes& times) {
  std::map<std::string, std::size_t> layers;
  for (const StepRow& row : times.rows()) layers.try_emplace(row.layer, layers.size());
  std::vector<StepRow> rows = times.rows();
  std::stable_sort(rows.begin(), rows.end(), [&](const StepRow& a, const StepRow& b) {
    return std::pair(layers[a.layer], a.order) < std::pair(layers[b.layer], b.order);
  });
  return rows;
}

std::string number(const Json& row, const char* key, int digits, double factor = 1) {
  if (!row.contains(key)) return "-";
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << factor * row.at(key).get<double>();
  return out.str();
}

using Line = std::vector<std::string>;

void print_table(std::ostream& out, const std::vector<Line>& lines) {
  std::vector<std::size_t> widths(lines[0].size());
  for (const Line& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  constexpr std::size_t texts = 2;  // columns in front that hold texts
  const auto print = [&](const Line& line) {
    for (std::size_t i = 0; i < line.size(); ++i)
      out << "| " << (i < texts ? std::left : std::right) << std::setw(static_cast<int>(widths[i])) << line[i]
          << ' ';
    out << "|\n";
  };
  print(lines[0]);
  for (std::size_t i = 0; i < widths.size(); ++i)
    out << '|' << std::string(widths[i] + 1, '-') << (i < texts ? '-' : ':');
  out << "|\n";
  std::for_each(lines.begin() + 1, lines.end(), print);
}

Line line_of(const Json& row, bool with_fp32) {
  Line line{row.at("layer"), row.at("pass")};
  line.push_back(number(row, "ms", 3));
  if (with_fp32) line.insert(line.end(), {number(row, "fp32_ms", 3), number(row, "speedup", 2)});
  line.insert(line.end(), {number(row, "gops", 0), number(row, "peak_share", 0, 100)});
  if (with_fp32)
    line.insert(line.end(), {number(row, "fp32_gops", 0), number(row, "fp32_peak_share", 0, 100)});
  line.insert(line.end(),
              {number(row, "bytes", 2, 1e-6), number(row, "gbps", 1), number(row, "cache_copy_share", 0, 100),
               number(row, "memory_copy_share", 0, 100), row.value("kernel", "-")});
  return line;
}

Line titles(bool with_fp32) {
  Line line{"layer", "pass", "ms"};
  if (with_fp32) line.insert(line.end(), {"FP32 ms", "ratio"});
  line.insert(line.end(), {"GOP/s", "% of peak"});
  if (with_fp32) line.insert(line.end(), {"FP32 GOP/s", "% of peak"});
  line.insert(line.end(), {"MB", "GB/s", "% of cache copy", "% of memory copy", "kernel"});
  return line;
}

// "a 1.23 + b 4.56"
std::string sum_text(const Json& parts) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2);
  for (const auto& [name, ms] : parts.items())
    if (name != "mean") out << (out.tellp() > 0 ? " + " : "") << name << ' ' << ms.get<double>();
  return out.str();
}

void print_memory(std::ostream& out, const Json& memory, const char* title) {
  out << title << ", MB: ";
  if (memory.contains("peak_bytes"))
    out << "process at most " << number(memory, "peak_bytes", 1, 1e-6) << "; ";
  out << "arena " << number(memory, "arena_bytes", 1, 1e-6) << ", parameters "
      << number(memory, "parameter_bytes", 1, 1e-6) << ", gradients "
      << number(memory, "gradient_bytes", 1, 1e-6) << ", optimizer "
      << number(memory, "optimizer_bytes", 1, 1e-6) << '\n';
}

const StepRow* same_row(const StepTimes* times, const StepRow& row) {
  if (times == nullptr) return nullptr;
  for (const StepRow& other : times->rows())
    if (other.layer == row.layer && other.pass == row.pass) return &other;
  return nullptr;
}

}  // namespace

Json rows_json(const StepTimes& times, const StepTimes* fp32, const Peaks& peaks) {
  Json rows = Json::array();
  for (const StepRow& from : in_order(times)) {
    Json row{{"layer", from.layer}, {"pass", from.pass}};
    if (!from.kernel.empty()) row["kernel"] = from.kernel;
    if (from.operations > 0) row["integer"] = from.integer;
    add_rates(row, from, peaks);
    if (const StepRow* other = same_row(fp32, from)) {
      Json theirs;
      add_rates(theirs, *other, peaks);
      for (const char* key : {"ms", "gops", "peak_share"})
        if (theirs.contains(key)) row[std::string("fp32_") + key] = theirs.at(key);
      row["speedup"] = other->time.ms() / from.time.ms();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Json passes_json(const Json& rows) {
  constexpr std::array weighted = {"gops", "peak_share", "gbps", "cache_copy_share", "memory_copy_share"};
  Json passes = Json::array();
  const auto of_pass = [&](const Json& pass) -> Json& {
    for (Json& known : passes)
      if (known.at("pass") == pass) return known;
    return passes.emplace_back(Json{{"layer", "all"}, {"pass", pass}});
  };
  const auto add = [](Json& to, const Json& row, const char* key, double factor) {
    if (row.contains(key)) to[key] = to.value(key, 0.0) + factor * row.at(key).get<double>();
  };
  for (const Json& row : rows) {
    Json& all = of_pass(row.at("pass"));
    for (const char* key : {"ms", "fp32_ms", "bytes"}) add(all, row, key, 1);
    for (const char* key : weighted) add(all, row, key, row.at("ms"));
    for (const char* key : {"fp32_gops", "fp32_peak_share"}) add(all, row, key, row.value("fp32_ms", 0.0));
  }
  for (Json& all : passes) {
    for (const char* key : weighted)
      if (all.contains(key)) all[key] = all.at(key).get<double>() / all.at("ms").get<double>();
    for (const char* key : {"fp32_gops", "fp32_peak_share"})
      if (all.contains(key)) all[key] = all.at(key).get<double>() / all.at("fp32_ms").get<double>();
    if (all.contains("fp32_ms"))
      all["speedup"] = all.at("fp32_ms").get<double>() / all.at("ms").get<double>();
  }
  return passes;
}

Json nodes_json(const StepTimes& times) {
  Json nodes = Json::array();
  for (const StepNode& node : times.nodes()) {
    const double ms = node.time.ms();
    Json entry{{"node", node.name}, {"op", node.op}, {"ms", ms}};
    if (node.operations > 0) {
      entry["kernel"] = node.kernel;
      entry["gops"] = 1e-6 * node.operations / ms;
    }
    entry["bytes"] = node.bytes;
    nodes.push_back(std::move(entry));
  }
  return nodes;
}

Json step_json(const StepTimes& times) {
  const double whole = mean(times.step_ms());
  double rest = whole - times.nodes_ms();
  Json step{{"mean", whole}, {"nodes", times.nodes_ms()}};
  for (const auto& [name, series] : times.outside()) {
    step[name] = series.mean_ms();
    rest -= series.mean_ms();
  }
  step["rest"] = rest;
  return step;
}

Json peaks_json(const Peaks& peaks) {
  return {{"int8_gops", peaks.int8_gops},
          {"fp32_gops", peaks.fp32_gops},
          {"cache_bytes", peaks.cache_bytes},
          {"cache_copy_gbps", peaks.cache_gbps},
          {"memory_copy_gbps", peaks.memory_gbps}};
}

void print_step(std::ostream& out, const Json& result) {
  const bool with_fp32 = result.contains("fp32");
  std::vector<Line> lines{titles(with_fp32)};
  for (const char* part : {"rows", "passes"})
    for (const Json& row : result.at(part)) lines.push_back(line_of(row, with_fp32));
  print_table(out, lines);
  const Json& step = result.at("step");
  out << "\nmean ms of a step: " << number(step, "mean", 2) << " = " << sum_text(step) << '\n';
  if (with_fp32) {
    const Json& other = result.at("fp32");
    out << "in FP32:           " << number(other.at("step"), "mean", 2) << " = " << sum_text(other.at("step"))
        << "; ratio " << number(result, "speedup", 3) << ", quartiles of the rounds "
        << number(result, "speedup_low", 3) << " to " << number(result, "speedup_high", 3) << '\n';
  }
  out << "step: median " << number(result, "step_ms_median", 3) << " ms, minimum "
      << number(result, "step_ms_min", 3) << " ms, mean " << number(result, "step_ms_mean", 3)
      << " ms\nprecision: " << number(result, "precision_ms", 3) << " ms of a step on average ("
      << number(result, "precision_share", 2, 100)
      << "%): passes that only look at values, searches, decisions; a new plan takes "
      << number(result, "plan_ms", 3) << " ms\n";
  const Json& peaks = result.at("peaks");
  out << "peaks of this run: INT8 " << number(peaks, "int8_gops", 0) << " GOP/s (vpdpbusd), FP32 "
      << number(peaks, "fp32_gops", 0) << " GOP/s (multiply-add); copies "
      << number(peaks, "cache_copy_gbps", 1) << " GB/s up to " << number(peaks, "cache_bytes", 1, 1e-6)
      << " MB (last cache), " << number(peaks, "memory_copy_gbps", 1) << " GB/s beyond\n";
  print_memory(out, result.at("memory"), "memory");
  if (with_fp32) print_memory(out, result.at("fp32").at("memory"), "memory in FP32");
}

}  // namespace octavo::cli
