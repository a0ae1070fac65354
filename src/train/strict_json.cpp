// Builds JSON from parser events under limits on depth, number of values and repeated keys. (The parser's own
// callback costs quadratic time in the members of an object.)
#include "train/strict_json.h"

#include <vector>

#include "core/check.h"

namespace octavo {
namespace {

using Json = nlohmann::json;

class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& where, std::int64_t max_values) : where_(where), left_(max_values) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // no such thing in JSON text
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [member, added] = open_.back()->get_ref<Json::object_t&>().try_emplace(name);
    require(added, Errc::checkpoint, where_, ": name '", name.substr(0, 100), "' appears twice");
    member_ = &member->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    // The parser quotes what it read last, which may be most of the file.
    fail(Errc::checkpoint, where_, ": damaged JSON: ", std::string(error.what()).substr(0, 200));
  }

 private:
  static constexpr std::size_t max_depth = 64;

  Json* place(Json value) {
    require(--left_ >= 0, Errc::checkpoint, where_, ": JSON holds too many values");
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array())
      return &open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
    return &(*member_ = std::move(value));
  }
  bool put(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    require(open_.size() < max_depth, Errc::checkpoint, where_, ": JSON is nested deeper than ", max_depth,
            " levels");
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  std::int64_t left_;
  Json root_;
  std::vector<Json*> open_;  // containers being filled, outermost first
  Json* member_ = nullptr;   // where the value of the last key goes
};

}  // namespace

nlohmann::json parse_strict_json(const std::string& text, const std::string& where, std::int64_t max_values) {
  Builder builder(where, max_values);
  Json::sax_parse(text, &builder);
  return builder.take();
}

}  // namespace octavo
