// The global gradient norm and the factor that clips it.
#pragma once

#include <span>
#include <vector>

#include "kernels.h"

namespace octavo {

/// The squares of a gradient fall into chunks of so many elements, each with one sum.
constexpr std::int64_t square_chunk = 1 << 14;

/// In a chunk, of so many elements each: tiles, whose squares are summed up in FP32 by lanes.
constexpr std::int64_t square_tile = 256, square_lanes = 16;

/// The lanes of a tile of n elements, a multiple of their number.
void sum_lanes(const float* x, std::int64_t n, float* lanes);
/// `sum` and so many lanes, in order.
double add_lanes(double sum, const float* lanes, std::int64_t count);

/// `sum` and the squares of n elements, in the structure of the norm: x begins a chunk or goes on with one by
/// a multiple of 256 elements, whose sum so far is `sum`. Asks for memory ahead of x where it `fetches`.
double add_squares(double sum, const float* x, std::int64_t n, bool fetches);

/// The global norm: square root of the sum of squares over all gradients, FP32 inside fixed tiles, FP64
/// across, in fixed order, whatever the threads. Inf or NaN in a gradient makes it Inf or NaN. Its lists
/// serve again: begin(), add() for each gradient, known_norm(), norm().
class GradientNorm {
 public:
  void begin();
  /// Of a gradient `told` somebody else writes the sums of the chunks, to told(index) of the index answered.
  std::size_t add(std::span<const float> gradient, bool told = false);
  /// The norm of the gradients that nobody else tells.
  double known_norm(const kernels::Parallel& parallel);
  /// After known_norm().
  double* told(std::size_t index) { return sums_.data() + index; }
  /// Of all.
  double norm() const;

 private:
  struct Chunk {
    std::span<const float> gradient;
    bool told;
  };
  std::vector<Chunk> chunks_;
  std::vector<double> sums_;
};

/// Factor for the gradients so that their norm is at most `max_norm`: min(1, max_norm / (norm + 1e-6)), the
/// form of PyTorch's clip_grad_norm_. Errc::numeric when the norm is not finite, Errc::config when max_norm
/// <= 0.
double clip_factor(double norm, double max_norm);

}  // namespace octavo
