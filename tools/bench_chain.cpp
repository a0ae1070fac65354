// Bandwidth of the chains of a training step against a copy: bench_chain [threads] [isa].
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "kernels.h"

using namespace octavo;
using namespace octavo::kernels;

namespace {

struct Sizes {
  const char* name;
  std::int64_t n, h, w, c;
  std::int64_t elements() const { return n * h * w * c; }
};

constexpr Sizes all_sizes[] = {{"128x32x32x16", 128, 32, 32, 16},   {"128x16x16x32", 128, 16, 16, 32},
                               {"128x8x8x64", 128, 8, 8, 64},       {"16x56x56x64", 16, 56, 56, 64},
                               {"16x112x112x96", 16, 112, 112, 96}, {"16x14x14x576", 16, 14, 14, 576},
                               {"128x32x32x3", 128, 32, 32, 3}};

struct Bytes {
  explicit Bytes(std::int64_t size) : storage(static_cast<std::size_t>(size) + 64) {}
  template <class T>
  T* as() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    return reinterpret_cast<T*>(storage.data() + (64 - address % 64) % 64);
  }
  std::vector<char> storage;
};

/// Seconds of the shortest of many runs.
template <class Run>
double shortest(const Run& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9, total = 0;
  for (int i = 0; i < 8 || (total < 0.15 && i < 2000); ++i) {
    const auto start = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = seconds < best ? seconds : best;
    total += seconds;
  }
  return best;
}

View rows(const Sizes& s) {
  return {.layout = Layout::rows,
          .n = s.n,
          .h = s.h,
          .w = s.w,
          .c = s.c,
          .top = 1,
          .left = 1,
          .bottom = 1,
          .right = 1,
          .channel_pitch = s.c};
}
View planes(const Sizes& s) {
  return {.layout = Layout::planes,
          .n = s.n,
          .h = s.h,
          .w = s.w,
          .c = s.c,
          .top = 1,
          .left = 1,
          .pitch = s.w + 1,
          .plane = (s.h + 2) * (s.w + 1) + 2};
}
View quads(const Sizes& s) {
  return {.layout = Layout::quads,
          .n = s.n,
          .h = s.h,
          .w = s.w,
          .c = s.c,
          .channel_pitch = (s.c + 15) / 16 * 16,
          .pitch = s.w + 1,
          .plane = (s.h * (s.w + 1) + 3) / 4 * 4};
}
View plain(const Sizes& s) { return {.layout = Layout::plain, .n = s.n, .h = s.h, .w = s.w, .c = s.c}; }

class Bench {
 public:
  Bench(const Sizes& s, Isa isa, ThreadPool& pool)
      : s_(s),
        isa_(isa),
        x_(s.elements() * 4),
        y_(s.elements() * 4),
        bits_(s.elements() / 8 + 1),
        vectors_(4 * s.c),
        parallel_([&pool](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
          pool.run(chunks, body);
        }) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < s.elements(); ++i)
      x_.as<float>()[i] = normal(random), y_.as<float>()[i] = normal(random);
    for (float& v : vectors_) v = normal(random);
  }

  void run() {
    const double copy = measure_copy();
    const float *a = vectors_.data(), *b = a + s_.c, *d = b + s_.c, *y = y_.as<float>();
    std::uint8_t* bits = bits_.as<std::uint8_t>();
    std::printf("%-14s copy %5.1f |", s_.name, copy);
    const auto show = [&](const char* name, double rate) {
      std::printf(" %s %5.1f (%3.0f%%)", name, rate, 100 * rate / copy);
    };
    show("quantize", measure({}, {plain(s_)}, Rounding::nearest, 5));
    show("stochastic", measure({}, {plain(s_)}, Rounding::stochastic, 5));
    show("statistics", measure({{.kind = StepKind::scale_shift, .a = a, .b = b}, {.kind = StepKind::sums}},
                               {}, Rounding::nearest, 4));
    show("forward", measure({{.kind = StepKind::scale_shift, .a = a, .b = b},
                             {.kind = StepKind::store_bits, .bits_out = bits},
                             {.kind = StepKind::relu}},
                            {rows(s_), planes(s_)}, Rounding::nearest, 6));
    show("sums",
         measure({{.kind = StepKind::keep_bits, .bits = bits}, {.kind = StepKind::sums, .b = b, .x = y}}, {},
                 Rounding::nearest, 8));
    show("backward", measure({{.kind = StepKind::keep_bits, .bits = bits},
                              {.kind = StepKind::combine, .a = a, .b = b, .d = d, .x = y}},
                             {rows(s_), quads(s_)}, Rounding::stochastic, 10));
    std::printf("\n");
  }

 private:
  double rate(double seconds, std::int64_t bytes_per_element) const {
    return static_cast<double>(s_.elements() * bytes_per_element) / seconds * 1e-9;
  }

  double measure_copy() {
    constexpr std::int64_t chunks = 64;
    const double seconds = shortest([&] {
      parallel_(chunks, [&](std::int64_t i) {
        const std::int64_t first = chunk_begin(s_.elements(), chunks, i),
                           end = chunk_begin(s_.elements(), chunks, i + 1);
        std::memcpy(y_.as<float>() + first, x_.as<float>() + first,
                    static_cast<std::size_t>(end - first) * 4);
      });
    });
    return rate(seconds, 8);
  }

  double measure(const std::vector<Step>& steps, const std::vector<View>& views, Rounding rounding,
                 std::int64_t bytes_per_element) {
    const float inverse = 30.0f;
    Quantize quantize{.inverse_scale = &inverse,
                      .rounding = rounding,
                      .squares = false,
                      .key = random_key(1, 2, 3),
                      .views = views};
    std::vector<Bytes> targets;
    for (const View& view : quantize.views) targets.emplace_back(view.bytes());
    std::vector<void*> places;
    places.reserve(targets.size());
    for (Bytes& target : targets) places.push_back(target.as<void*>());
    quantize.targets = places;
    QuantizeStats stats;
    std::vector<double> sums(static_cast<std::size_t>(2 * s_.c));
    Chain chain{.n = s_.n,
                .h = s_.h,
                .w = s_.w,
                .c = s_.c,
                .x = x_.as<float>(),
                .steps = steps,
                .quantize = targets.empty() ? nullptr : &quantize,
                .stats = &stats,
                .sum_v = sums.data(),
                .sum_vx = sums.data() + s_.c};
    Bytes scratch(chain_scratch_bytes(chain));
    chain.scratch = scratch.as<void>();
    return rate(shortest([&] { run_chain(isa_, chain, parallel_); }), bytes_per_element);
  }

  Sizes s_;
  Isa isa_;
  Bytes x_, y_, bits_;
  std::vector<float> vectors_;
  Parallel parallel_;
};

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 2);
  Isa isa = active_isa();
  for (Isa candidate : {Isa::ref, Isa::avx2, Isa::avx512vnni})
    if (argc > 2 && std::string(argv[2]) == isa_name(candidate)) isa = candidate;
  std::printf("%s, %d threads; GB/s, and percent of the copy\n", isa_name(isa), pool.threads());
  for (const Sizes& sizes : all_sizes) Bench(sizes, isa, pool).run();
}
