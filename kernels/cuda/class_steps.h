// The contraction of a weight gradient with sample classes: range after range of sample_order.h, each in
// whole steps. Neighbouring ranges of one kind, even or odd, are a *chain* where the octaves between them
// leave room in an int32: one sum takes them all and is shifted between. A *part* is an equal share of all
// steps; what a part and a chain have in common gives one int32 sum, and a result has no more of these sums
// than the plan has room for.
#pragma once

#include "implicit_gemm.h"
#include "sample_order.h"

namespace octavo::kernels::cuda {

/// Octaves that a chain of parts of so many steps may span, at least 1.
OCTAVO_HD constexpr int chain_octaves(int part_steps, int most_steps) {
  int octaves = 1;
  while (octaves < most_ranges && std::int64_t{part_steps} << octaves <= most_steps) ++octaves;
  return octaves;
}
/// Sums of a result at most, of `ranges` ranges with classes below `classes`: a part begins one, and so does
/// a chain.
OCTAVO_HD constexpr int most_sums(int splits, int octaves, int classes, int ranges) {
  const int chains = 2 * static_cast<int>(ceil_div((classes + 1) / 2, octaves));
  return splits + (chains < ranges ? chains : ranges) - 1;
}

struct ClassSteps {
  int taps, length, octaves;  // length: steps of a part
};
OCTAVO_HD constexpr ClassSteps class_steps(const ImplicitGemm& g, const SampleOrder& order) {
  ClassSteps steps{g.h.taps * g.w.taps, 0, 0};
  int all = 0;
  for (int i = 0; i < order.ranges; ++i) all += contraction_steps(steps.taps, order.range[i].segments);
  steps.length = static_cast<int>(ceil_div(all, g.splits));
  steps.octaves = chain_octaves(steps.length, g.most_steps);
  return steps;
}

/// Ranges [range, end), steps [start, start + steps). Its sums count 2^octave.
struct Chain {
  int index = -1, range = 0, end = 0, start = 0, steps = 0, octave = 0, odd = 0;
};
/// Moves on to the next one; false behind the last.
OCTAVO_HD constexpr bool next_chain(const SampleOrder& order, const ClassSteps& s, Chain& chain) {
  ++chain.index, chain.range = chain.end, chain.start += chain.steps, chain.steps = 0;
  if (chain.range >= order.ranges) return false;
  const ClassRange head = order.range[chain.range];
  chain.odd = head.odd;
  chain.octave = head.octave < s.octaves ? 0 : head.octave - s.octaves + 1;
  for (; chain.end < order.ranges; ++chain.end) {
    const ClassRange next = order.range[chain.end];
    if (next.odd != chain.odd || next.octave < chain.octave) break;
    chain.steps += contraction_steps(s.taps, next.segments);
  }
  return true;
}

/// The sums of a chain: of parts [first, first + count), where sum p + index belongs to part p.
struct ChainSums {
  int first, count;
};
OCTAVO_HD constexpr ChainSums chain_sums(const ClassSteps& s, const Chain& chain) {
  const int part = chain.start / s.length, last = (chain.start + chain.steps - 1) / s.length;
  return {part + chain.index, last - part + 1};
}

/// What a part and a chain have in common: so many steps, from step `skipped` of a range on.
struct Piece {
  int range, skipped, steps;
};
OCTAVO_HD constexpr Piece piece_of(const SampleOrder& order, const ClassSteps& s, const Chain& chain,
                                   int part) {
  const int from = part * s.length > chain.start ? part * s.length : chain.start;
  const int chain_end = chain.start + chain.steps, part_end = (part + 1) * s.length;
  Piece piece{chain.range, from - chain.start, (part_end < chain_end ? part_end : chain_end) - from};
  if (piece.steps <= 0) return piece;
  for (;; ++piece.range) {
    const int steps = contraction_steps(s.taps, order.range[piece.range].segments);
    if (piece.skipped < steps) return piece;
    piece.skipped -= steps;
  }
}

}  // namespace octavo::kernels::cuda
