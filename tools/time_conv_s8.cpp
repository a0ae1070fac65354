#include "time_conv_s8.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

#include "peaks.h"

namespace octavo {

using namespace kernels;

RandomBytes::RandomBytes(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes + 127) / 64 * 64;
  data.reset(static_cast<std::uint8_t*>(std::aligned_alloc(64, size)));
  std::mt19937 generator(1);
  for (std::size_t i = 0; i < size; ++i) data.get()[i] = static_cast<std::uint8_t>(generator() >> 24);
}

std::vector<std::uint8_t> draw_sample_classes(std::int64_t samples, bool half_octaves) {
  std::mt19937 generator(1);
  std::normal_distribution<double> octave(2.8, 1.2);
  std::vector<std::uint8_t> classes(static_cast<std::size_t>(samples));
  for (std::uint8_t& c : classes) {
    const double drawn = std::clamp(octave(generator), 0.0, 6.0);
    c = static_cast<std::uint8_t>(half_octaves ? std::lround(2 * drawn) : 2 * std::lround(drawn));
  }
  return classes;
}

ConvSeconds time_conv_s8(const ConvS8Candidate& candidate, const ConvShape& shape, Product product,
                         ThreadPool& pool, const ConvTiming& timing) {
  const Parallel parallel = [&](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  const View a_view = candidate.a_view(shape, product), b_view = candidate.b_view(shape, product);
  const auto kernel = candidate.make(shape, product, a_view, b_view);
  const bool weights = product != Product::grad_weight;
  const std::int64_t x = shape.n * shape.h * shape.w * shape.c, y = shape.n * shape.ho * shape.wo * shape.k;
  const std::int64_t w = shape.k * shape.r * shape.s * (shape.c / shape.groups);
  const float scale = 0.01F;
  ConvArgs args{.a_planes = timing.a_planes, .b_planes = timing.b_planes};
  args.a_scale = args.b_scale = &scale;
  if (!timing.classes.empty() && !weights) args.sample_class = timing.classes.data();
  RandomBytes a(planes_bytes(a_view, args.a_planes)), scratch(kernel->scratch_bytes(args));
  RandomBytes b(weights ? args.b_planes * kernel->packed_stride() : planes_bytes(b_view, args.b_planes));
  const std::int64_t results = product == Product::forward ? y : product == Product::grad_input ? x : w;
  const FloatType type = weights ? timing.results : FloatType::f32;
  RandomBytes plain(w * args.b_planes), out(float_bytes(type) * results);
  ConvSeconds seconds;
  // Strides above the kernel's height pass over rows of X.
  const std::int64_t rows = std::min(shape.stride_h, shape.r);
  const std::int64_t a_bytes = planes_bytes(a_view, args.a_planes);
  seconds.read = (product == Product::grad_input ? a_bytes : a_bytes * rows / shape.stride_h) +
                 (weights ? args.b_planes * kernel->packed_stride() : planes_bytes(b_view, args.b_planes));
  seconds.written = float_bytes(type) * results;
  if (weights) {
    const auto pack = [&] {
      kernel->pack_planes(reinterpret_cast<const std::int8_t*>(plain.data.get()), w, args.b_planes,
                          b.data.get(), parallel);
    };
    seconds.pack = shortest(pack, timing.budget / 8);
  }
  args.a = a.data.get();
  args.b = b.data.get();
  args.out = {out.data.get(), type};
  args.scratch = scratch.data.get();
  seconds.run = shortest([&] { kernel->run(args, parallel); }, timing.budget);
  return seconds;
}

}  // namespace octavo
