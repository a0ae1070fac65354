// The arena: two values that live at the same time never overlap, and every value is written before it is
// read.
#include <map>
#include <set>

#include "exec/fits.h"
#include "support/branches.h"
#include "support/catch.h"
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

struct Life {
  std::size_t begin = 0, end = 0;
};

// Written once more from the order of execution alone, without the planner's own bookkeeping.
std::map<ValueId, Life> lives(const Graph& graph) {
  std::map<ValueId, Life> result;
  const auto touch = [&](ValueId id, std::size_t at) {
    auto [entry, made] = result.try_emplace(graph.root(id), Life{at, at});
    entry->second.end = std::max(entry->second.end, at);
  };
  for (const Loss& loss : graph.losses)
    if (loss.seed != no_value) touch(loss.seed, graph.first_backward);
  for (std::size_t at = 0; at < graph.nodes.size(); ++at) {
    for (ValueId id : writes(graph.nodes[at])) touch(id, at);
    for (ValueId id : reads(graph.nodes[at])) touch(id, at);
  }
  for (const Output& output : graph.outputs) touch(output.value, graph.nodes.size());
  for (const Loss& loss : graph.losses) touch(loss.value, graph.nodes.size());
  return result;
}

void check_placement(const Plan& plan) {
  const auto all = lives(plan.graph);
  std::int64_t sum = 0;
  int overlaps = 0;
  for (auto a = all.begin(); a != all.end(); ++a) {
    if (plan.graph.value(a->first).kind == ValueKind::input) continue;
    const std::int64_t begin = plan.offsets[static_cast<std::size_t>(a->first)],
                       end = begin + value_bytes(plan.graph.value(a->first));
    sum += end - begin;
    REQUIRE((begin >= 0 && begin % 64 == 0 && end <= plan.arena_bytes));
    for (auto b = std::next(a); b != all.end(); ++b) {
      if (plan.graph.value(b->first).kind == ValueKind::input) continue;
      const std::int64_t other = plan.offsets[static_cast<std::size_t>(b->first)];
      const bool apart_in_time = a->second.end < b->second.begin || b->second.end < a->second.begin;
      const bool apart_in_space = end <= other || other + value_bytes(plan.graph.value(b->first)) <= begin;
      overlaps += !apart_in_time && !apart_in_space;
    }
  }
  CHECK(overlaps == 0);
  if (plan.graph.phase == Phase::train) CHECK(plan.arena_bytes < sum);  // lifetimes are made use of
}

void check_order(const Graph& graph) {
  std::set<ValueId> written;
  for (ValueId id : graph.inputs) written.insert(graph.root(id));
  for (const Loss& loss : graph.losses)
    if (loss.seed != no_value) written.insert(graph.root(loss.seed));
  int early = 0;
  for (const Node& node : graph.nodes) {
    for (ValueId id : reads(node)) {
      if (!written.contains(graph.root(id))) UNSCOPED_INFO(node.name << " reads " << graph.value(id).name);
      early += !written.contains(graph.root(id));
    }
    for (ValueId id : writes(node)) written.insert(graph.root(id));
  }
  CHECK(early == 0);
}

// A product that adds to a gradient must not read it under another name: what it reads would change on the
// way.
void check_in_place(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (!node.accumulate) continue;
    const ValueId target = graph.root(node.grad_inputs[0]);
    for (const std::vector<ValueId>* list : {&node.inputs, &node.outputs, &node.grad_outputs})
      for (ValueId id : *list) {
        CAPTURE(node.name);
        CHECK((id == no_value || graph.root(id) != target));
      }
  }
}

void check_model(const std::string& text) {
  const BatchTypes types{{"image", {DType::f32, {4, 16, 16, 3}}}, {"label", {DType::i64, {4}}}};
  Runtime runtime(1, 1);
  Program program(build(text), types, runtime);
  const std::vector<std::string> none, blocks{"stage*.*", "stem", "bn", "join", "depth"};
  for (bool integer : {false, true})
    for (bool fusion : {false, true})
      for (const auto& [phase, recomputed] :
           {std::pair(Phase::train, none), std::pair(Phase::train, blocks), std::pair(Phase::eval, blocks)}) {
        CAPTURE(integer, fusion, static_cast<int>(phase), recomputed);
        set_formats(program, integer);
        program.fusion = fusion;
        program.recomputed = recomputed;
        program.reset_plans();
        const Plan& plan = program.plan(types, phase);
        check_placement(plan);
        check_order(plan.graph);
        check_in_place(plan.graph);
      }
}

}  // namespace

TEST_CASE("placement and order of a ResNet-20") { check_model(resnet(3)); }

TEST_CASE("placement and order of a model with branches, joins, reused values and two losses") {
  check_model(branches());
}

TEST_CASE("an arena beyond the memory is refused with the layer of its largest value") {
  const BatchTypes types{{"image", {DType::f32, {4, 16, 16, 3}}}, {"label", {DType::i64, {4}}}};
  Runtime runtime(1, 1);
  Program program(build(resnet(1)), types, runtime);
  program.fusion = false;
  Plan& plan = program.plan(types, Phase::train);
  require_arena_fits(plan, program.parameter_bytes());
  plan.arena_bytes = std::int64_t{1} << 61;
  std::int64_t largest = 0;
  for (std::size_t id = 0; id < plan.graph.values.size(); ++id)
    if (plan.offsets[id] >= 0) largest = std::max(largest, value_bytes(plan.graph.values[id]));
  try {
    require_arena_fits(plan, 5);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.code() == Errc::resource);
    CHECK_THAT(error.what(), ContainsSubstring("test:1:1: [") &&
                                 ContainsSubstring("2305843009213693952 bytes (2.0 EiB) beside 5 bytes") &&
                                 ContainsSubstring(" with " + std::to_string(largest) + " bytes"));
  }
}
