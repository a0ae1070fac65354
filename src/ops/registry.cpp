#include "graph/op_table.h"

#include <deque>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {

#define OCTAVO_OP(name) OpDef name##_op();
#include "ops/op_list.inc"
#undef OCTAVO_OP

namespace {

// A deque, so that references stay valid when an application registers more.
std::deque<OpDef>& table() {
  static std::deque<OpDef> ops = {
#define OCTAVO_OP(name) name##_op(),
#include "ops/op_list.inc"
#undef OCTAVO_OP
  };
  return ops;
}

}  // namespace

const OpDef& find_op(const std::string& type) {
  for (const OpDef& op : table())
    if (op.type == type) return op;
  fail(Errc::config, "unknown op '", type, "'", suggestion(type, op_names()));
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const OpDef& op : table()) names.push_back(op.type);
  return names;
}

void register_op(OpDef op) {
  for (const OpDef& known : table())
    require(known.type != op.type, Errc::config, "an op named '", op.type, "' exists already");
  require(bool(op.infer), Errc::config, "op '", op.type, "' has no shape inference");
  table().push_back(std::move(op));
}

}  // namespace octavo
