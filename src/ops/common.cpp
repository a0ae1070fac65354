#include "ops/common.h"

#include <array>
#include <vector>

#include "core/check.h"

namespace octavo {

InitChoice read_init(const AttrReader& reader, Initializer::Kind fallback) {
  if (reader.is_map("init")) {
    const AttrReader map = reader.map("init");
    return {Initializer::Kind::constant, map.number("constant")};
  }
  static constexpr std::array<std::string_view, 3> names{"kaiming", "xavier", "zero"};
  const std::string name = reader.choice("init", names,
                                         fallback == Initializer::Kind::kaiming  ? "kaiming"
                                         : fallback == Initializer::Kind::xavier ? "xavier"
                                                                                 : "zero");
  if (name == "kaiming") return {Initializer::Kind::kaiming};
  if (name == "xavier") return {Initializer::Kind::xavier};
  return {Initializer::Kind::constant, 0};
}

void require_rank(const Signature& signature, int index, int rank, const char* layout) {
  const TensorType& type = signature.inputs[static_cast<std::size_t>(index)];
  require(type.shape.rank() == rank && type.dtype == DType::f32, Errc::config, "expects ", layout,
          " of f32, got ", type.shape.str(), " of ", dtype_name(type.dtype));
}

void column_sums(const float* values, std::int64_t rows, std::int64_t columns, float* gradient,
                 bool accumulate) {
  constexpr std::int64_t tile = 64;
  std::vector<double> total(static_cast<std::size_t>(columns), 0.0);
  std::vector<float> partial(static_cast<std::size_t>(columns));
  for (std::int64_t begin = 0; begin < rows; begin += tile) {
    std::fill(partial.begin(), partial.end(), 0.0f);
    for (std::int64_t row = begin; row < std::min(begin + tile, rows); ++row)
      for (std::int64_t c = 0; c < columns; ++c)
        partial[static_cast<std::size_t>(c)] += values[row * columns + c];
    for (std::size_t c = 0; c < total.size(); ++c) total[c] += partial[c];
  }
  for (std::size_t c = 0; c < total.size(); ++c)
    gradient[c] = static_cast<float>(total[c]) + (accumulate ? gradient[c] : 0.0f);
}

}  // namespace octavo
