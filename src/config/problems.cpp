// Problem list and nearest names.
#include "config/problems.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"

namespace octavo {
namespace {

constexpr std::size_t most_lines = 100;  // a file of nonsense should not fill the terminal

// Edits (insert, delete, replace, swap of neighbours) that turn one name into the other.
int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    next[0] = static_cast<int>(i) + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      next[j + 1] = std::min({row[j + 1] + 1, next[j] + 1, row[j] + (a[i] == b[j] ? 0 : 1)});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        next[j + 1] = std::min(next[j + 1], before[j - 1] + 1);
    }
    before = row;
    std::swap(row, next);
  }
  return row[b.size()];
}

}  // namespace

void Problems::add(const Position& position, const std::string& text) {
  const std::string line = position.str() + ": " + text;
  // A block expanded many times reports its error once.
  if (std::find(lines_.begin(), lines_.end(), line) == lines_.end() && lines_.size() <= most_lines)
    lines_.push_back(line);
}

void Problems::add(const Error& error) {
  const std::string line = error.what();
  if (std::find(lines_.begin(), lines_.end(), line) == lines_.end() && lines_.size() <= most_lines)
    lines_.push_back(line);
}

void Problems::add(const Problems& others) {
  for (const std::string& line : others.lines_) add(Error(Errc::config, line));
}

void Problems::throw_if_any() const {
  if (lines_.empty()) return;
  std::string text;
  for (std::size_t i = 0; i < std::min(lines_.size(), most_lines); ++i)
    text += (i > 0 ? "\n" : "") + lines_[i];
  if (lines_.size() > most_lines) text += "\n... and more; repair these first";
  fail(Errc::config, text);
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& names) {
  std::string best;
  int best_distance = std::max<int>(1, static_cast<int>(name.size()) * 2 / 5) + 1;
  if (name.size() > 80) return "";
  for (const std::string& candidate : names) {
    const int distance = edit_distance(name, candidate);
    if (distance < best_distance && distance < static_cast<int>(candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& names) {
  const std::string near = nearest_name(name, names);
  if (!near.empty()) return "; did you mean '" + near + "'?";
  if (names.empty()) return "";
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 20); ++i)
    list += (i > 0 ? ", " : "") + names[i];
  return "; valid: " + list + (names.size() > 20 ? ", ..." : "");
}

void fail_at(const Position& position, const std::string& text) {
  fail(Errc::config, position.str(), ": ", text);
}

}  // namespace octavo
