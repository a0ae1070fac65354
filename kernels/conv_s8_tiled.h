// The tiled integer convolution: what an instruction set provides (ConvIsa), and the plans that drive it.
// The plans are compiled once, without instruction set flags; the files of an instruction set hold plain
// functions.
#pragma once

#include <array>

#include "conv_axes.h"

namespace octavo::kernels {

/// acc[i][j] = sum over segments t and steps q of a[rows[i] + offsets[t] + 4 q + e] * b[t][q][j][e], e in
/// [0, 4), modulo 2^32, a unsigned and b signed. Step q of segment t of b lies at b_offsets[t] + q * b_step
/// bytes. With shifts the sum so far is taken times 2^shifts[t] before segment t. ConvTiles::masked: of b,
/// bits & masks[q], byte e of a mask for the four bytes of every column.
struct ConvTile {
  const std::uint8_t* a;
  const std::int64_t* rows;
  const std::int8_t* b;
  std::int64_t b_step;
  const std::int64_t *offsets, *b_offsets;
  const std::int32_t* shifts;  // or null
  const std::uint32_t* masks;  // of the steps of every segment; or null
  std::int64_t segments, steps;
  bool scattered;     // the segments of a row lie far apart
  std::int32_t* acc;  // [rows][columns of the tile]
};
using ConvTileFunction = void (*)(const ConvTile&);

/// Pixels of a sample that taps leave out, by quad and mask: those of tap i are [begin[i], begin[i + 1]).
struct ConvHoles {
  struct Hole {
    std::int64_t quad;
    std::uint32_t mask;
  };
  std::vector<Hole> list;
  std::vector<std::int64_t> begin;
};

/// acc[j] = sum over segments t, steps and e of b[t][q][j][e] for `columns` (16 or 32) columns. Step q of
/// segment t lies at index[t] * b_segment + q * b_step bytes; with copy it goes to index[t] * copy_segment +
/// q * columns * 4. `shifts` as in a tile, modulo 2^32. With holes there is such a sum for each tap,
/// acc_pitch elements apart, without the tap's holes.
struct ConvColumnSums {
  const std::int8_t* b;
  std::int64_t b_step, b_segment;
  const std::int64_t* index;
  const std::int32_t* shifts;  // or null
  std::int64_t segments, steps, columns;
  std::int8_t* copy;  // or null
  std::int64_t copy_segment;
  const ConvHoles* holes;  // or null
  std::int64_t acc_pitch;
  std::int32_t* acc;
};

/// Turns a tile of forward or grad_input into results; row i goes to out[out_index[i] ...].
struct ConvFinishRows {
  const std::int64_t* sums;        // [rows][pitch], or null: then acc - correction, modulo 2^32, are the sums
  const std::int32_t* acc;         // [rows][pitch]
  const std::int32_t* correction;  // subtracted, per column
  std::int64_t rows, pitch, columns;
  const std::int64_t* out_index;
  const float* a_scale;  // per row when a_scale_vector
  const float* b_scale;  // per column when b_scale_vector
  bool a_scale_vector, b_scale_vector;
  const float* bias;  // per column, or null
  FloatTarget out;
  bool accumulate;
  bool stream;  // writes around the caches: whole lines, nothing to add (whole_lines)
  std::int64_t* integers;
};

/// Results whose rows of `columns` elements are `pitch` apart can be written around the caches.
inline bool whole_lines(const FloatTarget& out, std::int64_t pitch, std::int64_t columns) {
  const std::int64_t size = float_bytes(out.type);
  return (columns * size % 64 | pitch * size % 64) == 0 &&
         reinterpret_cast<std::uintptr_t>(out.data) % 64 == 0;
}

/// Turns a tile of grad_weight into results: element (i, j) goes to out[j * out_pitch + i].
struct ConvFinishColumns {
  const std::int64_t* sums;  // [rows][pitch], or null: then acc - correction, modulo 2^32, are the sums
  const std::int64_t* odd;   // sums of odd classes, or null; only with sums
  const std::int32_t* acc;
  const std::int32_t* correction;
  std::int64_t rows, pitch, columns;
  std::int64_t out_pitch;
  const float* a_scale;  // per row when a_scale_vector
  const float* b_scale;  // per column when b_scale_vector
  bool a_scale_vector, b_scale_vector;
  float* out;
  bool accumulate;
  std::int64_t* integers;
  std::int64_t* odd_integers;  // or null
};

/// One tap's weights of a panel: byte e of column j of step q, target[q * step + j * 4 + e], is input 4 q + e
/// of that column, 0 where there is none; sums[j] += the column's sum.
struct ConvPack {
  std::int8_t* target;
  std::int64_t step;
  const std::int8_t* source;  // rows `row` bytes apart
  std::int64_t row, inputs, columns;
  std::int32_t* sums;
  bool stream;  // may write around the caches
};

/// Both in one, without a detour of the sums through memory: for one plane, one scale of A, finite scales and
/// bias, at least one step (of 16 columns: two in each segment); no integers.
using ConvFinishedTile = void (*)(const ConvTile&, const ConvFinishRows&);

/// Tiles of grad_weight over few pixels, by rows (conv_s8_outer.h).
struct ConvOuter;
using ConvOuterTiles = std::array<void (*)(const ConvOuter&), 15>;

/// By the number of rows; null where there is none.
using ConvFinishedTiles = std::array<ConvFinishedTile, 15>;

/// Tiles of one width by their number of rows.
struct ConvTiles {
  static constexpr std::size_t most_rows = 14;
  std::array<ConvTileFunction, most_rows + 1> sums;
  /// The same and the sums of B's columns, acc[rows][j] = sum of b[t][q][j][e]; or null.
  std::array<ConvTileFunction, most_rows + 1> summed;
  std::array<ConvTileFunction, most_rows + 1> masked;
  ConvFinishedTiles finished;
};

/// Tiles are 16 (index 0) or 32 columns (index 1) wide and have up to max_rows[width] rows. Those of index 2
/// are for panels of 32 columns of which 17 to 24 are there, and compute 24.
struct ConvIsa {
  static constexpr int widest = 32, most_rows = ConvTiles::most_rows, most_elements = 448;
  int max_rows[2];            // 0: has no tile of this width
  const ConvTiles* tiles[3];  // null: none
  /// The same as `finished` for bfloat16, by an instruction that takes subnormal numbers for 0
  /// (converts_bf16()); neither bias nor accumulate. Null: none.
  const ConvFinishedTiles* converted[3];
  void (*finish_rows)(const ConvFinishRows&);
  /// sums[i] (+)= (acc[i] - correction[i % pitch]) 2^shift, the difference modulo 2^32 before it is widened,
  /// the sum modulo 2^64; `first` overwrites.
  void (*add_sums)(std::int64_t* sums, const std::int32_t* acc, const std::int32_t* correction,
                   std::int64_t rows, std::int64_t pitch, int shift, bool first);
  void (*finish_columns)(const ConvFinishColumns&);
  void (*column_sums)(const ConvColumnSums&);
  void (*pack_rows)(const ConvPack&);     // a row of the source holds the inputs of one column
  void (*pack_columns)(const ConvPack&);  // ... one input of the columns
  const ConvOuterTiles* outer_tiles;      // or null

  /// Which tiles a panel takes of whose columns so many are there.
  int tile_index(std::int64_t width, std::int64_t columns) const {
    if (width != widest) return 0;
    return columns <= 24 && tiles[2] != nullptr ? 2 : 1;
  }
};

/// Plain forms of the two.
void pack_rows_plain(const ConvPack& args);
void pack_columns_plain(const ConvPack& args);

/// The columns [begin, begin + width) of one group's outputs that one tile covers; the last may exceed the
/// outputs.
struct ConvPanel {
  std::int64_t begin, width;
  std::int64_t columns(std::int64_t outputs) const {
    return outputs - begin < width ? outputs - begin : width;
  }
};
std::vector<ConvPanel> conv_panels(const ConvIsa& isa, std::int64_t outputs);
/// Columns stored for `outputs` outputs: enough for the panels of every instruction set.
constexpr std::int64_t padded_columns(std::int64_t outputs) {
  return outputs % 32 == 0 || outputs % 32 > 16 ? (outputs + 31) / 32 * 32 : outputs / 32 * 32 + 16;
}

/// First layers: a row of taps is one run of bytes, without padding between the pixels. All weights of a
/// filter then lie in one WeightBlock.
bool has_dense_rows(const ConvShape& shape, Product product);
std::string refuse_tiled(const ConvShape& shape, Product product);
View tiled_a_view(const ConvShape& shape, Product product);
View tiled_b_view(const ConvShape& shape, Product product);
std::unique_ptr<ConvS8> make_tiled(const ConvIsa& isa, const ConvShape& shape, Product product, const View& a,
                                   const View& b);

/// Forward and grad_input; rows views.
std::unique_ptr<ConvS8> make_pixel_product(const ConvIsa& isa, const ConvShape& shape, Product product,
                                           const View& a);
/// grad_weight; planes and quads views.
View grad_weight_planes(const ConvShape& shape);
View grad_weight_quads(const ConvShape& shape);
std::unique_ptr<ConvS8> make_grad_weight(const ConvIsa& isa, const ConvShape& shape, const View& a,
                                         const View& b);

}  // namespace octavo::kernels
