#include "exec/kernel_plan.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <sstream>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {
namespace {

using kernels::ConvS8Candidate;
using kernels::ConvShape;
using kernels::Product;

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};

struct Size {
  const char* name;
  std::int64_t ConvShape::*field;
  std::int64_t least;
};
constexpr std::array sizes = {
    Size{"n", &ConvShape::n, 1},
    Size{"h", &ConvShape::h, 1},
    Size{"w", &ConvShape::w, 1},
    Size{"c", &ConvShape::c, 1},
    Size{"k", &ConvShape::k, 1},
    Size{"r", &ConvShape::r, 1},
    Size{"s", &ConvShape::s, 1},
    Size{"ho", &ConvShape::ho, 1},
    Size{"wo", &ConvShape::wo, 1},
    Size{"stride_h", &ConvShape::stride_h, 1},
    Size{"stride_w", &ConvShape::stride_w, 1},
    Size{"pad_h", &ConvShape::pad_h, 0},
    Size{"pad_w", &ConvShape::pad_w, 0},
    Size{"dilation_h", &ConvShape::dilation_h, 1},
    Size{"dilation_w", &ConvShape::dilation_w, 1},
    Size{"groups", &ConvShape::groups, 1},
};

/// Of one axis: a product of three such sizes fits int64, as kernels multiply them.
constexpr std::int64_t largest_size = std::int64_t{1} << 20;

std::string milliseconds_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4f", value);
  return text.data();
}

std::string flow_list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + quote_text(name);
  return "[" + text + "]";
}

// Sizes that are 1 (or 0, for padding) are left out.
std::string shape_text(const ConvShape& shape) {
  std::string text;
  for (const Size& size : sizes)
    if (shape.*size.field != ConvShape{}.*size.field)
      text += concat(text.empty() ? "" : ", ", size.name, ": ", shape.*size.field);
  return "{" + text + "}";
}

// Everything that is wrong with a file, in one error.
class PlanReader {
 public:
  KernelPlan read(const YamlNode& root) {
    KernelPlan plan;
    expect(root, root.is_map(), "a map");
    known_keys(root, {"cpu", "isa", "threads", "products"});
    plan.cpu = text(root, "cpu");
    plan.isa = text(root, "isa");
    const YamlNode& threads = *child(root, "threads", "a whole number");
    expect(threads, to_integer(threads).has_value(), "a whole number");
    plan.threads = to_integer(threads).value_or(0);
    const YamlNode* products = child(root, "products", "a list");
    expect(*products, products->is_sequence(), "a list of products");
    for (const YamlNode& item : products->items) plan.products.push_back(read_product(item));
    problems_.throw_if_any();
    return plan;
  }

 private:
  void expect(const YamlNode& node, bool good, const std::string& what) {
    if (!good && node.position.source)
      problems_.add(node.position, "expected " + what + ", found " + describe(node));
  }

  void known_keys(const YamlNode& map, const std::vector<std::string>& names) {
    for (const YamlEntry& entry : map.entries)
      if (std::find(names.begin(), names.end(), entry.key) == names.end())
        problems_.add(entry.position, concat("unknown key '", entry.key, "'", suggestion(entry.key, names)));
  }

  // A missing one is reported, and then reads as nothing.
  const YamlNode* child(const YamlNode& map, const char* name, const char* what) {
    static const YamlNode nothing;
    const YamlNode* node = map.find(name);
    if (node == nullptr) problems_.add(map.position, concat("'", name, "' is missing: ", what));
    return node == nullptr ? &nothing : node;
  }

  std::string text(const YamlNode& map, const char* name) {
    const YamlNode& node = *child(map, name, "a text");
    expect(node, !node.is_map() && !node.is_sequence(), "a text");
    return node.text;
  }

  TunedProduct read_product(const YamlNode& node) {
    TunedProduct tuned;
    expect(node, node.is_map(), "a map");
    if (!node.is_map()) return tuned;
    known_keys(node, {"layers", "product", "shape", "kernel", "milliseconds"});
    read_kind(*child(node, "product", "forward, grad_input or grad_weight"), tuned);
    read_shape(*child(node, "shape", "a map of sizes"), tuned.shape);
    read_kernel(*child(node, "kernel", "the name of a kernel"), tuned);
    if (problems_.empty() && !seen_.insert({static_cast<int>(tuned.product), shape_text(tuned.shape)}).second)
      problems_.add(node.position, "this product of these sizes stands in the file twice");
    return tuned;
  }

  void read_kind(const YamlNode& node, TunedProduct& tuned) {
    std::vector<std::string> names;
    for (const Product product : all_products) {
      names.emplace_back(product_name(product));
      if (node.text == names.back()) return void(tuned.product = product);
    }
    if (node.position.source)
      problems_.add(node.position, concat("unknown product '", node.text, "'", suggestion(node.text, names)));
  }

  void read_shape(const YamlNode& node, ConvShape& shape) {
    std::vector<std::string> names;
    for (const Size& size : sizes) {
      names.emplace_back(size.name);
      const YamlNode* value = node.find(size.name);
      if (value == nullptr) continue;
      const auto number = to_integer(*value);
      const bool good = number && *number >= size.least && *number <= largest_size;
      expect(*value, good, concat("a whole number from ", size.least, " to ", largest_size));
      if (good) shape.*size.field = *number;
    }
    known_keys(node, names);
  }

  void read_kernel(const YamlNode& node, TunedProduct& tuned) {
    std::vector<std::string> names;
    for (const ConvS8Candidate& candidate : kernels::conv_s8_candidates()) {
      names.emplace_back(candidate.name);
      if (node.text == candidate.name) tuned.kernel = &candidate;
    }
    if (!node.position.source) return;
    if (tuned.kernel == nullptr)
      return problems_.add(
          node.position, concat("there is no integer kernel '", node.text, "'", suggestion(node.text, names),
                                "; octavo tune makes the file again"));
    // What this CPU cannot run is only left out, by choice(); kernels above it may not even be asked.
    if (tuned.kernel->isa > kernels::active_isa() || !problems_.empty()) return;
    const std::string reason = tuned.kernel->refuse(tuned.shape, tuned.product);
    if (!reason.empty())
      problems_.add(node.position, concat("'", node.text, "' refuses this product: ", reason));
  }

  Problems problems_;
  std::set<std::pair<int, std::string>> seen_;
};

}  // namespace

std::string KernelPlan::text(const std::string& title) const {
  std::ostringstream out;
  out << "# " << title << "\n"
      << "cpu: " << quote_text(cpu) << "\nisa: " << isa << "\nthreads: " << threads << "\nproducts:";
  if (products.empty()) out << " []";
  out << '\n';
  for (const TunedProduct& tuned : products) {
    out << "  - layers: " << flow_list(tuned.layers) << "\n    product: " << product_name(tuned.product)
        << "\n    shape: " << shape_text(tuned.shape) << "\n    kernel: " << tuned.kernel->name
        << "\n    milliseconds: {";
    for (std::size_t i = 0; i < tuned.milliseconds.size(); ++i)
      out << (i ? ", " : "") << tuned.milliseconds[i].first << ": "
          << milliseconds_text(tuned.milliseconds[i].second);
    out << "}\n";
  }
  return out.str();
}

std::string KernelPlan::mismatch(const std::string& this_cpu, std::int64_t this_threads) const {
  if (cpu == this_cpu && threads == this_threads) return {};
  return concat("plan: measured on '", cpu, "' with ", threads, " threads, this run is on '", this_cpu,
                "' with ", this_threads, "; octavo tune measures again");
}

KernelChoice KernelPlan::choice(const DispatchLog& warn) const {
  std::vector<TunedProduct> allowed;
  std::set<std::string> left_out;
  for (const TunedProduct& tuned : products)
    if (tuned.kernel->isa <= kernels::active_isa())
      allowed.push_back(tuned);
    else
      left_out.insert(tuned.kernel->name);
  for (const std::string& name : left_out)
    if (warn)
      warn(concat("plan: '", name, "' is above the active instruction set, ",
                  kernels::isa_name(kernels::active_isa()), "; its products take the first of the list"));
  return [allowed = std::move(allowed)](const ConvShape& shape, Product product,
                                        const ProductFormat&) -> const ConvS8Candidate* {
    for (const TunedProduct& tuned : allowed)
      if (tuned.product == product && tuned.shape == shape) return tuned.kernel;
    return nullptr;
  };
}

KernelPlan read_kernel_plan(const std::string& path) { return PlanReader().read(read_yaml_file(path)); }

}  // namespace octavo
