// Tables of register tiles by their number of rows, of every family of tiles alike. A Family names its
// functions: tile<TileKind, row...>, summed<row...>, finished<row...>.
#pragma once

#include <utility>

#include "avx512vnni/conv_s8_sums.h"

namespace octavo::kernels {
namespace {

template <class Family, TileKind kind, std::size_t... row>
constexpr ConvTileFunction tile_of(std::index_sequence<row...>) {
  return Family::template tile<kind, row...>;
}

template <class Family, std::size_t... row>
constexpr ConvTileFunction summed_of(std::index_sequence<row...>) {
  return Family::template summed<row...>;
}

template <class Family, std::size_t... row>
constexpr ConvFinishedTile finished_of(std::index_sequence<row...>) {
  return Family::template finished<row...>;
}

/// Tiles of large images have one of these two numbers of rows.
template <class Family>
constexpr ConvFinishedTiles finished_tiles() {
  constexpr std::size_t most = ConvIsa::most_rows;
  ConvFinishedTiles tiles{};
  tiles[most - 1] = finished_of<Family>(std::make_index_sequence<most - 1>());
  tiles[most] = finished_of<Family>(std::make_index_sequence<most>());
  return tiles;
}

/// The sums of the columns take a row more.
template <class Family, std::size_t... rows>
constexpr void add_summed(ConvTiles& tiles, std::index_sequence<rows...>) {
  ((tiles.summed[rows + 1] = summed_of<Family>(std::make_index_sequence<rows + 1>())), ...);
}

template <class Family, std::size_t... rows>
constexpr ConvTiles tiles_of(std::index_sequence<rows...>) {
  ConvTiles tiles{{nullptr, tile_of<Family, TileKind::plain>(std::make_index_sequence<rows + 1>())...},
                  {},
                  {nullptr, tile_of<Family, TileKind::masked>(std::make_index_sequence<rows + 1>())...},
                  finished_tiles<Family>()};
  add_summed<Family>(tiles, std::make_index_sequence<ConvIsa::most_rows - 1>());
  return tiles;
}

template <class Family>
constexpr ConvTiles all_tiles() {
  return tiles_of<Family>(std::make_index_sequence<ConvIsa::most_rows>());
}

}  // namespace
}  // namespace octavo::kernels
