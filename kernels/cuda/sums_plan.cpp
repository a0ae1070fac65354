// Pieces of sums beside tiles of results.
#include "sums_plan.h"

#include <stdexcept>

#include "chain_checks.h"
#include "result_sums.h"
#include "shared_tile.h"

namespace octavo::kernels::cuda {
namespace {

/// Rows of a tile that wait for their way to memory together, in order: as many as a row of warps has for
/// mma, all of a small tile.
int rows_together(const ConvPlan& plan) {
  return plan.tile == TileKind::small ? tile_rows(plan.tile) : WideTile::turn_rows;
}

}  // namespace

std::string refuse_sums(const ConvPlan& plan, const ImageLayout& y) {
  if (plan.product != Product::forward) return "sums are of a forward product";
  if (plan.by_tma()) return "kernels that TMA feeds have no registers left for sums";
  if (!plan.direct()) return "results whose contraction is cut into parts";
  if (y.c != plan.shape.k || pixels_of(y) != plan.gemm.class_rows) return "sums of a tensor of other sizes";
  const SumsWalk walk = sums_walk(y);
  const int piece = even_piece(walk), rows = rows_together(plan);
  if (piece == 0)
    return "pieces of " + std::to_string(walk.piece) + " pixels end within tiles of " +
           std::to_string(walk.tile) + " or lines of " + std::to_string(walk.line);
  const bool one_tile = plan.grid.m_tiles == 1 && rows == tile_rows(plan.tile);
  if (rows % piece != 0 && !one_tile)
    return "pieces of " + std::to_string(piece) + " pixels do not divide the " + std::to_string(rows) +
           " rows that are stored together";
  return {};
}

SumsPlan plan_sums(const ConvPlan& plan, const ImageLayout& y) {
  const std::string reason = refuse_sums(plan, y);
  if (!reason.empty()) throw std::invalid_argument(plan.name + reason);
  const SumsWalk walk = sums_walk(y);
  return {walk, even_piece(walk), y.c};
}

bool sums_pay(const SumsPlan& plan, FloatType type) {
  return std::int64_t{2} * 2 * 4 * plan.walk.lanes < std::int64_t{plan.piece} * float_bytes(type);
}

}  // namespace octavo::kernels::cuda
