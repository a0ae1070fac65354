// Reads the fixtures of tools/golden: double tensors with names, and the value formula of golden_format.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace octavo::golden {

struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

/// One file of tests/fixtures/golden; `fixture` is its description (parameters, cases, hyperparameters).
struct Fixture {
  nlohmann::json fixture;
  std::map<std::string, Array> tensors;
  const Array& at(const std::string& name) const {
    auto found = tensors.find(name);
    if (found == tensors.end()) throw std::runtime_error("golden fixture: no tensor '" + name + "'");
    return found->second;
  }
};

inline Fixture read(const std::string& name) {
  const std::string path = std::string(OCTAVO_SOURCE_DIR) + "/tests/fixtures/golden/" + name + ".safetensors";
  std::ifstream file(path, std::ios::binary);
  std::uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  std::string text(file ? header_bytes : 0, ' ');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file || text.empty()) throw std::runtime_error("golden fixture: cannot read " + path);
  Fixture result;
  const nlohmann::json header = nlohmann::json::parse(text);
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      result.fixture = nlohmann::json::parse(entry.at("fixture").get<std::string>());
      continue;
    }
    const auto offsets = entry.at("data_offsets").get<std::vector<std::uint64_t>>();
    Array array{entry.at("shape").get<std::vector<std::int64_t>>(), {}};
    array.values.resize((offsets.at(1) - offsets.at(0)) / sizeof(double));
    file.seekg(static_cast<std::streamoff>(sizeof header_bytes + header_bytes + offsets[0]));
    file.read(reinterpret_cast<char*>(array.values.data()),
              static_cast<std::streamsize>(array.values.size() * sizeof(double)));
    if (!file) throw std::runtime_error("golden fixture: " + path + " ends inside '" + key + "'");
    result.tensors.emplace(key, std::move(array));
  }
  return result;
}

/// In [-0.5, 0.5), exact in float.
inline double counter_value(std::uint64_t index) {
  std::uint32_t h = static_cast<std::uint32_t>(index) * 1103515245u + 12345u;
  h ^= h >> 16;
  h = h * 1103515245u + 12345u;
  return ((h >> 16) & 0x7fffu) / 32768.0 - 0.5;
}

/// Element `element` of tensor `number` of a fixture.
inline double formula(std::uint64_t number, std::uint64_t element, double scale, double center = 0.0) {
  return center + scale * counter_value(number * 1000003u + element);
}

/// |a - b| / |b| in the Euclidean norm.
template <class Values>
double relative_distance(const Values& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) throw std::runtime_error("relative_distance: sizes differ");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(found[i]) - expected[i];
    difference += d * d;
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(norm), 1e-300);
}

}  // namespace octavo::golden
