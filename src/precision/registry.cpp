#include "precision/registry.h"

#include <algorithm>
#include <deque>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {

#define OCTAVO_POLICY(name) PolicyDef name##_policy();
#include "precision/policy_list.inc"
#undef OCTAVO_POLICY

namespace {

std::deque<PolicyDef>& table() {
  static std::deque<PolicyDef> policies = {
#define OCTAVO_POLICY(name) name##_policy(),
#include "precision/policy_list.inc"
#undef OCTAVO_POLICY
  };
  return policies;
}

bool answers_to(const PolicyDef& policy, const std::string& name) {
  return policy.name == name ||
         std::find(policy.aliases.begin(), policy.aliases.end(), name) != policy.aliases.end();
}

}  // namespace

StatisticsRequest Policy::wants(const SlotState&) const { return {}; }

const PolicyDef& find_policy(const std::string& name) {
  std::vector<std::string> names;
  for (const PolicyDef& policy : table()) {
    if (answers_to(policy, name)) return policy;
    names.push_back(policy.name);
  }
  fail(Errc::config, "unknown precision policy '", name, "'", suggestion(name, names));
}

std::vector<PolicyDef> policies() { return {table().begin(), table().end()}; }

void register_policy(PolicyDef policy) {
  for (const PolicyDef& known : table())
    require(!answers_to(known, policy.name), Errc::config, "a precision policy named '", policy.name,
            "' exists already");
  require(bool(policy.make), Errc::config, "precision policy '", policy.name, "' has no factory");
  table().push_back(std::move(policy));
}

}  // namespace octavo
