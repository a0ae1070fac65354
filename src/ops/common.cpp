#include "ops/common.h"

#include <algorithm>
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

namespace {

constexpr std::int64_t sum_tile = 64;  // rows

std::int64_t sum_tiles(std::int64_t rows) { return (rows + sum_tile - 1) / sum_tile; }

}  // namespace

std::int64_t column_sums_bytes(std::int64_t rows, std::int64_t columns) {
  return columns * static_cast<std::int64_t>(sizeof(double)) +
         sum_tiles(rows) * columns * static_cast<std::int64_t>(sizeof(float));
}

void column_sums(const OpContext& context, kernels::FloatSource values, std::int64_t rows,
                 std::int64_t columns, float* gradient, bool accumulate) {
  const std::int64_t tiles = sum_tiles(rows), chunks = std::min<std::int64_t>(tiles, 64);
  auto* total = static_cast<double*>(context.scratch());
  auto* partial = reinterpret_cast<float*>(total + columns);
  context.parallel(chunks, [&](std::int64_t chunk) {
    for (std::int64_t tile = tiles * chunk / chunks; tile < tiles * (chunk + 1) / chunks; ++tile) {
      float* __restrict sum = partial + tile * columns;
      std::fill(sum, sum + columns, 0.0f);
      kernels::with_type(values.type, [&](auto element) {
        const auto* from = values.as<decltype(element)>();
        for (std::int64_t row = tile * sum_tile; row < std::min((tile + 1) * sum_tile, rows); ++row)
          for (std::int64_t c = 0; c < columns; ++c) sum[c] += kernels::to_float(from[row * columns + c]);
      });
    }
  });
  std::fill(total, total + columns, 0.0);
  for (std::int64_t tile = 0; tile < tiles; ++tile)
    for (std::int64_t c = 0; c < columns; ++c) total[c] += partial[tile * columns + c];
  for (std::int64_t c = 0; c < columns; ++c)
    gradient[c] = static_cast<float>(total[c]) + (accumulate ? gradient[c] : 0.0f);
}

}  // namespace octavo
