#include "exec/print.h"

#include <map>
#include <sstream>

#include "core/check.h"

namespace octavo {
namespace {

constexpr const char* layout_names[] = {"plain", "rows", "planes", "quads"};
constexpr const char* products[] = {"forward", "grad_input", "grad_weight"};

std::string describe(const Plan& plan, const SlotTable& slots, ValueId id) {
  const Value& value = plan.graph.value(id);
  std::ostringstream out;
  out << value.name << ' ' << value.type.shape.str() << ' ';
  if (value.kind == ValueKind::view)
    out << format_name(slots[value.slot].format) << ' ' << layout_names[static_cast<int>(value.view.layout)];
  else
    out << dtype_name(value.type.dtype);
  out << ' ' << value_bytes(value) << " B";
  if (value.alias != no_value) out << " in place of " << plan.graph.value(plan.graph.root(id)).name;
  return out.str();
}

std::string title(const Node& node) {
  std::string text =
      node.op->type + (node.pass == Pass::backward ? " backward" : "") + (node.repeated ? " again" : "");
  if (!node.chain.empty()) {
    text += " (";
    for (std::size_t i = 0; i < node.chain.size(); ++i)
      text += (i ? ", " : "") + node.chain[i].op->type +
              (node.chain[i].pass == Pass::backward ? " backward" : "");
    text += node.views.empty() ? ")" : ", quantize)";
  }
  return text;
}

std::string kernel_lines(const Node& node, const char* separator) {
  std::string text;
  for (std::size_t p = 0; p < node.products.size(); ++p) {
    const ProductPlan& product = node.products[p];
    if (!product.used) continue;
    text += concat(separator, products[p], ": ", product.kernel, product.fallback.empty() ? "" : ", ",
                   product.fallback);
  }
  return text;
}

}  // namespace

std::string print_text(const Plan& plan, const SlotTable& slots) {
  std::ostringstream out;
  for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i) {
    const Node& node = plan.graph.nodes[i];
    if (i == 0) out << "forward\n";
    if (i == plan.graph.first_backward) out << "backward\n";
    out << "  " << i << "  " << node.name << "  [" << title(node) << "]"
        << kernel_lines(node, "\n        kernel ") << '\n';
    for (ValueId id : writes(node)) out << "        writes " << describe(plan, slots, id) << '\n';
  }
  out << "arena " << plan.arena_bytes << " B\n";
  return out.str();
}

std::string print_dot(const Plan& plan, const SlotTable& slots) {
  std::ostringstream out;
  out << "digraph octavo {\n  rankdir=TB; node [shape=box, fontname=monospace];\n";
  std::map<ValueId, std::size_t> writer;
  for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i) {
    const Node& node = plan.graph.nodes[i];
    out << "  n" << i << " [label=\"" << node.name << "\\n"
        << title(node) << kernel_lines(node, "\\n") << "\"];\n";
    for (ValueId id : reads(node))
      if (const auto from = writer.find(plan.graph.root(id)); from != writer.end())
        out << "  n" << from->second << " -> n" << i << " [label=\"" << describe(plan, slots, id) << "\"];\n";
    for (ValueId id : writes(node)) writer[plan.graph.root(id)] = i;
  }
  out << "}\n";
  return out.str();
}

}  // namespace octavo
