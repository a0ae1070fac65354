// Limits around the JSON parser: depth, number of values, duplicate keys.
#include "train/strict_json.h"

#include <set>
#include <vector>

#include "core/check.h"

namespace octavo {
namespace {

constexpr int max_depth = 64;

/// Watches the events of the parser; throws at the first violation, before the value is stored.
class Guard {
 public:
  Guard(const std::string& where, std::int64_t max_values) : where_(where), left_(max_values) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    require(depth <= max_depth, Errc::checkpoint, where_, ": JSON is nested deeper than ", max_depth,
            " levels");
    switch (event) {
      case Event::object_start:
        count();
        keys_.emplace_back();
        break;
      case Event::object_end:
        keys_.pop_back();
        break;
      case Event::key:
        add_key(parsed.get_ref<const std::string&>());
        break;
      case Event::array_start:
      case Event::value:
        count();
        break;
      case Event::array_end:
        break;
    }
    return true;
  }

 private:
  void count() { require(--left_ >= 0, Errc::checkpoint, where_, ": JSON holds too many values"); }
  void add_key(const std::string& key) {
    require(keys_.back().insert(key).second, Errc::checkpoint, where_, ": name '", key, "' appears twice");
  }

  const std::string& where_;
  std::int64_t left_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

nlohmann::json parse_strict_json(const std::string& text, const std::string& where, std::int64_t max_values) {
  try {
    Guard guard(where, max_values);
    return nlohmann::json::parse(text, std::ref(guard));
  } catch (const nlohmann::json::exception& error) {
    // The parser quotes what it read last, which may be most of the file.
    fail(Errc::checkpoint, where, ": damaged JSON: ", std::string(error.what()).substr(0, 200));
  }
}

}  // namespace octavo
