// Recursive descent over the text between ${ and }.
#include "config/expression.h"

#include <algorithm>
#include <cmath>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {
namespace {

constexpr double largest = static_cast<double>(std::int64_t{1} << 40);
constexpr int deepest = 50;

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const Variables& variables, const Position& position)
      : text_(text), variables_(variables), position_(position) {}

  YamlNode run() {
    YamlNode value = sum();
    skip_spaces();
    if (at_ < text_.size()) fail(concat("unexpected '", text_[at_], "'"));
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    fail_at(position_, concat(what, " in '${", text_, "}'"));
  }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  bool take(std::string_view token) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  YamlNode sum() {
    if (++depth_ > deepest) fail("parentheses nest too deep");
    YamlNode left = term();
    for (;;) {
      if (take("+")) {
        left = combine('+', left, term());
      } else if (take("-")) {
        left = combine('-', left, term());
      } else {
        --depth_;
        return left;
      }
    }
  }

  YamlNode term() {
    YamlNode left = unary();
    for (;;) {
      if (take("//")) {
        left = combine('d', left, unary());
      } else if (take("/")) {
        left = combine('/', left, unary());
      } else if (take("*")) {
        left = combine('*', left, unary());
      } else if (take("%")) {
        left = combine('%', left, unary());
      } else {
        return left;
      }
    }
  }

  YamlNode unary() {
    bool negative = false;
    while (take("-")) negative = !negative;
    YamlNode value = indexed();
    return negative ? combine('-', whole(0), value) : value;
  }

  YamlNode indexed() {
    YamlNode value = primary();
    while (take("[")) {
      const YamlNode index = sum();
      if (!take("]")) fail("missing ']'");
      if (!value.is_sequence()) fail("only a list has elements; found " + describe(value));
      const auto at = to_integer(index);
      const auto count = static_cast<std::int64_t>(value.items.size());
      if (!at || *at < 0 || *at >= count)
        fail(concat("index ", describe(index), " is outside the list of ", count, " values"));
      YamlNode item = value.items[static_cast<std::size_t>(*at)];
      value = std::move(item);
    }
    return value;
  }

  YamlNode primary() {
    skip_spaces();
    if (take("(")) {
      YamlNode value = sum();
      if (!take(")")) fail("missing ')'");
      return value;
    }
    if (at_ >= text_.size()) fail("a value is missing");
    if (is_digit(text_[at_]) || text_[at_] == '.') return literal();
    if (!is_name_start(text_[at_])) fail(concat("unexpected '", text_[at_], "'"));
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_name_start(text_[at_]) || is_digit(text_[at_]))) ++at_;
    const std::string name(text_.substr(begin, at_ - begin));
    return take("(") ? call(name) : variable(name);
  }

  YamlNode literal() {
    const std::size_t begin = at_;
    const auto part_of_number = [&](char c) {
      const bool signed_exponent = (c == '-' || c == '+') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      return is_digit(c) || c == '.' || c == 'e' || c == 'E' || signed_exponent;
    };
    while (at_ < text_.size() && (at_ == begin || part_of_number(text_[at_]))) ++at_;
    const std::string number(text_.substr(begin, at_ - begin));
    if (!parse_number(number)) fail("'" + number + "' is not a number");
    return make_scalar(number, position_);
  }

  YamlNode variable(const std::string& name) const {
    const auto found = variables_.find(name);
    if (found != variables_.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [known, value] : variables_) names.push_back(known);
    fail_at(position_, concat("unknown variable '", name, "' in '${", text_, "}'", suggestion(name, names)));
  }

  YamlNode call(const std::string& name) {
    std::vector<YamlNode> arguments;
    do {
      arguments.push_back(sum());
    } while (take(","));
    if (!take(")")) fail("missing ')'");
    if (name == "min" || name == "max") return extreme(arguments, name == "max");
    const std::size_t wanted = name == "round_to" ? 2 : 1;
    if (name != "ceil" && name != "round_to")
      fail("unknown function '" + name + "'" + suggestion(name, {"min", "max", "ceil", "round_to"}));
    if (arguments.size() != wanted)
      fail(concat(name, " takes ", wanted, " values, found ", arguments.size()));
    if (name == "ceil") return real(std::ceil(number(arguments[0])));
    return round_to(number(arguments[0]), number(arguments[1]));
  }

  YamlNode extreme(const std::vector<YamlNode>& arguments, bool greatest) const {
    YamlNode best = arguments.front();
    for (const YamlNode& argument : arguments)
      if (greatest ? number(argument) > number(best) : number(argument) < number(best)) best = argument;
    number(best);
    return best;
  }

  YamlNode round_to(double x, double multiple) const {
    if (multiple <= 0) fail("round_to needs a multiple above 0");
    double rounded = std::max(multiple, std::floor((x + multiple / 2) / multiple) * multiple);
    if (rounded < 0.9 * x) rounded += multiple;
    return real(rounded);
  }

  double number(const YamlNode& node) const {
    const auto value = to_number(node);
    if (!value) fail("expected a number, found " + describe(node));
    return *value;
  }

  YamlNode whole(std::int64_t value) const {
    if (std::abs(static_cast<double>(value)) > largest) fail("the result exceeds 2^40");
    return make_scalar(std::to_string(value), position_);
  }

  YamlNode real(double value) const {
    if (!(std::abs(value) <= largest)) fail("the result exceeds 2^40");
    if (std::floor(value) == value) return whole(static_cast<std::int64_t>(value));
    return make_scalar(format_number(value), position_);
  }

  YamlNode combine(char operation, const YamlNode& left, const YamlNode& right) const {
    const double x = number(left), y = number(right);
    const auto a = to_integer(left), b = to_integer(right);
    if ((operation == '/' || operation == 'd' || operation == '%') && y == 0) fail("division by 0");
    if (!a || !b) return combine_reals(operation, x, y);
    if (std::abs(x) > largest || std::abs(y) > largest) fail("a value exceeds 2^40");
    std::int64_t result = 0;
    switch (operation) {
      case '+':
        return whole(*a + *b);
      case '-':
        return whole(*a - *b);
      case '*':
        if (__builtin_mul_overflow(*a, *b, &result)) fail("the result exceeds 2^40");
        return whole(result);
      case '/':
        if (*a % *b != 0) return real(x / y);
        return whole(*a / *b);
      default:
        break;
    }
    const std::int64_t remainder = (*a % *b + *b) % *b;  // takes the sign of the divisor
    return whole(operation == '%' ? remainder : (*a - remainder) / *b);
  }

  YamlNode combine_reals(char operation, double x, double y) const {
    switch (operation) {
      case '+':
        return real(x + y);
      case '-':
        return real(x - y);
      case '*':
        return real(x * y);
      case '/':
        return real(x / y);
      case 'd':
        return real(std::floor(x / y));
      default:
        return real(x - y * std::floor(x / y));
    }
  }

  std::string_view text_;
  const Variables& variables_;
  const Position& position_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

YamlNode evaluate_text(const YamlNode& node, const Variables& variables) {
  const std::string& text = node.text;
  std::string result;
  std::size_t at = 0;
  for (std::size_t open; (open = text.find("${", at)) != std::string::npos;) {
    const std::size_t close = text.find('}', open);
    if (close == std::string::npos) fail_at(node.position, "missing '}' in '" + text + "'");
    const std::string_view inner = std::string_view(text).substr(open + 2, close - open - 2);
    YamlNode value = Parser(inner, variables, node.position).run();
    value.position = node.position;
    if (open == 0 && close + 1 == text.size()) return value;
    if (!value.is_scalar())
      fail_at(node.position, concat("'${", inner, "}' inside a text gives ", describe(value)));
    result += text.substr(at, open - at) + value.text;
    at = close + 1;
  }
  return make_scalar(result + text.substr(at), node.position, node.quoted);
}

}  // namespace

YamlNode evaluate(const YamlNode& node, const Variables& variables) {
  if (node.is_scalar())
    return node.text.find("${") == std::string::npos ? node : evaluate_text(node, variables);
  YamlNode result = node;
  for (YamlNode& item : result.items) item = evaluate(item, variables);
  for (YamlEntry& entry : result.entries) entry.value = evaluate(entry.value, variables);
  return result;
}

}  // namespace octavo
