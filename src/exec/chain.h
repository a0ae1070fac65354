// Pointwise ops add their steps to a chain, which then runs tile by tile in one pass over memory.
#pragma once

#include <span>

#include "exec/runtime.h"
#include "graph/graph.h"

namespace octavo {

/// The steps without those that leave something in memory: for a pass that only looks.
NodeList<kernels::Step> looking_steps(NodeMemory& memory, std::span<const kernels::Step> steps);

/// Maxima taken for a combine() behind the first `bounded` steps hold for the end: only stores follow it.
bool bounded_at_end(std::span<const kernels::Step> steps, std::size_t bounded);

class ChainBuilder {
 public:
  ChainBuilder(Runtime& runtime, const Geometry& geometry, kernels::FloatSource x);

  const Geometry& sizes() const { return geometry_; }
  std::int64_t pixels() const { return geometry_.n * geometry_.h * geometry_.w; }
  std::int64_t channels() const { return geometry_.c; }
  kernels::FloatSource first_pixel() const { return chain_.x; }  // the chain's first tensor

  /// Memory for per-channel values that lives until the node has run.
  float* channel_vector() { return channel_values<float>(); }
  template <class T>
  T* channel_values() {
    return runtime_.memory.take<T>(static_cast<std::size_t>(geometry_.c)).data();
  }

  void scale_shift(const float* a, const float* b);         // v = a[c] v + b[c]
  void add(kernels::FloatSource x);                         // v = v + x
  void relu();                                              // v = max(v, 0)
  void clamp(float hi);                                     // v = min(max(v, 0), hi)
  void keep_bits(const std::uint8_t* bits);                 // v = v where bits, else 0
  void store_bits(std::uint8_t* bits, float lo, float hi);  // bits = lo < v < hi
  /// v = a[c] v + b[c] x + d[c]
  void combine(const float* a, const float* b, kernels::FloatSource x, const float* d);
  /// v = 0 with probability p, else factor v; the mask is that of the key and the element.
  void drop(kernels::RandomKey key, float p, float factor);
  void store(kernels::FloatTarget out);

  /// Runs the steps so far once, and returns per channel sum(v) and sum(v (x - pivot)), without x sum(v v).
  struct Sums {
    std::span<const double> v, vx;
  };
  const Sums& sums(kernels::FloatSource x, const float* pivot);

  /// Where the tail wants a scale per sample: sums() then also takes each sample's largest |a[c] v|, so that
  /// no pass over the result of a combine() with that a, which ends the chain, has to look for it. `widen`
  /// adds the largest of `margin`, one per channel, for the other terms; what lies above is clipped and
  /// counted.
  const Sums& sums(kernels::FloatSource x, const float* pivot, const float* a);
  void widen(const float* margin);
  /// The maxima are those of the values times `factors`, one per channel; null: 1.
  void watch_samples(const float* factors) { watching_ = true, factors_ = factors; }
  bool watches_samples() const { return watching_; }
  /// Bit patterns of the maxima, one per sample, or none when they do not hold for the chain's end.
  std::span<const std::uint32_t> sample_maxima() const;

  /// sum(u) and sum(u u) of u = a v + b, without adding that step to the chain.
  const Sums& shifted_squares(const float* a, const float* b);
  /// What shifted_squares() is to answer at the start of the chain, with a = 1 and b = -first_pixel().
  void know_squares(const Sums& sums) { known_ = sums; }

  kernels::Chain chain() const;
  void run();

 private:
  Runtime& runtime_;
  Geometry geometry_;
  kernels::Chain chain_;  // without its steps
  NodeList<kernels::Step> steps_;
  Sums sums_, known_;
  bool watching_ = false;
  const float* factors_ = nullptr;
  std::span<std::uint32_t> sample_max_;
  std::size_t bounded_step_ = 0;  // the combine() that the maxima hold for comes right after so many steps
};

}  // namespace octavo
