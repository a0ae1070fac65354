// Chains: every step and tail, on every instruction set and thread count, equals the reference bit for bit.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <random>

#include "core/thread_pool.h"
#include "kernels.h"
#include "support/catch.h"

using namespace octavo;
using namespace octavo::kernels;

namespace {

struct Sizes {
  std::int64_t n, h, w, c;
  std::int64_t elements() const { return n * h * w * c; }
};

const std::vector<Sizes> shapes = {
    {1, 1, 1, 1},    {1, 7, 5, 3},    {3, 5, 9, 10},   {1, 9, 7, 17},  {3, 8, 8, 64},    {2, 33, 31, 16},
    {1, 3, 5, 100},  {1, 13, 11, 96}, {1, 1, 37, 650}, {5, 1, 3, 144}, {1, 2, 300, 24},  {1, 6, 100, 100},
    {1, 1, 3, 5000}, {9, 4, 4, 1},    {1, 21, 64, 24}, {2, 3, 2, 576}, {1, 1, 1030, 13},
};

Parallel parallel_of(ThreadPool& pool) {
  return
      [&pool](std::int64_t chunks, const std::function<void(std::int64_t)>& body) { pool.run(chunks, body); };
}

std::vector<float> random_values(std::int64_t count, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

/// Zeros, denormals, Inf, NaN and huge values between ordinary ones.
std::vector<float> hostile_values(std::int64_t count) {
  std::vector<float> values = random_values(count, 3);
  const float inf = std::numeric_limits<float>::infinity();
  const float specials[] = {0.0f, -0.0f, 1e-41f, -1e-45f, inf, -inf, NAN, 3e38f, -3e38f, 0.5f, -1.5f, 127.5f};
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] = specials[i / 3 % std::size(specials)];
  return values;
}

/// Views of every layout, with borders, pitches and phases that no vector divides.
std::vector<View> all_views(const Sizes& s, std::uint8_t zero) {
  const View plain{.layout = Layout::plain, .n = s.n, .h = s.h, .w = s.w, .c = s.c, .zero = zero};
  std::vector<View> views(9, plain);
  for (int i = 1; i < 4; ++i) views[i].layout = Layout::rows, views[i].channel_pitch = s.c;
  views[2].top = 1, views[2].left = 2, views[2].bottom = 3, views[2].right = 1;
  views[3].left = 1, views[3].bottom = 1, views[3].channel_pitch = (s.c + 4) / 4 * 4;
  for (int i = 4; i < 7; ++i)
    views[i].layout = Layout::planes, views[i].pitch = s.w, views[i].plane = s.h * s.w;
  views[5].top = views[5].left = 1, views[5].pitch = s.w + 1, views[5].plane = (s.h + 2) * (s.w + 1) + 5;
  views[6].top = 2, views[6].left = 1, views[6].phase_h = 2, views[6].phase_w = 3;
  views[6].pitch = s.w / 3 + 1, views[6].plane = (s.h / 2 + 1) * (s.w / 3 + 1);
  for (int i = 7; i < 9; ++i)
    views[i].layout = Layout::quads, views[i].pitch = s.w, views[i].channel_pitch = s.c;
  views[7].plane = (s.h * s.w + 3) / 4 * 4;
  views[8].pitch = s.w + 1, views[8].plane = (s.h * (s.w + 1) + 7) / 4 * 4,
  views[8].channel_pitch = (s.c + 16) / 16 * 16;
  return views;
}

std::int64_t layout_bytes(const View& view) { return view.bytes() - 64; }

/// A 64-byte aligned buffer full of a marker, so that bytes not written are seen.
struct Buffer {
  explicit Buffer(std::int64_t bytes) : storage(static_cast<std::size_t>(bytes + 64), char{0x55}) {}
  void* data() { return storage.data() + (64 - reinterpret_cast<std::uintptr_t>(storage.data()) % 64) % 64; }
  std::vector<char> storage;
};

struct Outcome {
  std::vector<float> stored, stored_late;
  std::vector<std::uint8_t> bits;
  std::vector<std::vector<char>> views;
  QuantizeStats stats;
  std::vector<std::uint32_t> max_bits;
  std::vector<double> sum_v, sum_vx;
};

bool same_floats(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) &&
        !(std::isnan(a[i]) && std::isnan(b[i])))
      return false;
  return a.size() == b.size();
}

bool same_doubles(const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return a.size() == b.size();
}

void check_equal(const Outcome& a, const Outcome& b) {
  CHECK(same_floats(a.stored, b.stored));
  CHECK(same_floats(a.stored_late, b.stored_late));
  CHECK(a.bits == b.bits);
  REQUIRE(a.views.size() == b.views.size());
  for (std::size_t i = 0; i < a.views.size(); ++i) {
    INFO("view " << i);
    CHECK(a.views[i] == b.views[i]);
  }
  CHECK(a.stats.max_bits == b.stats.max_bits);
  CHECK(a.stats.saturated == b.stats.saturated);
  CHECK(a.stats.sum_square == b.stats.sum_square);
  CHECK(a.max_bits == b.max_bits);
  CHECK(same_doubles(a.sum_v, b.sum_v));
  CHECK(same_doubles(a.sum_vx, b.sum_vx));
}

/// Inputs of one shape, shared by all runs.
struct Inputs {
  explicit Inputs(const Sizes& s)
      : sizes(s),
        x(random_values(s.elements(), 1)),
        y(random_values(s.elements(), 2)),
        a(random_values(s.c, 4)),
        b(random_values(s.c, 5)),
        d(random_values(s.c, 6)),
        bits(static_cast<std::size_t>(s.elements() / 8 + 1)),
        inverse(random_values(std::max(s.n, s.c), 7, 30.0f)) {
    std::mt19937 random(8);
    for (auto& byte : bits) byte = static_cast<std::uint8_t>(random());
    for (float& value : inverse) value = std::fabs(value) + 1.0f;
  }
  Sizes sizes;
  std::vector<float> x, y, a, b, d;
  std::vector<std::uint8_t> bits;
  std::vector<float> inverse;
};

/// How the tensors of a chain lie in memory: the first, those of its steps, those that it stores.
struct Types {
  FloatType x = FloatType::f32, y = FloatType::f32, out = FloatType::f32;
};

/// A copy of a tensor in either type.
struct Stored {
  Stored(const std::vector<float>& values, FloatType t) : bytes(values.size() * 4), type(t) {
    for (std::size_t i = 0; i < values.size(); ++i) target().set(static_cast<std::int64_t>(i), values[i]);
  }
  FloatTarget target() { return {bytes.data(), type}; }
  std::vector<char> bytes;
  FloatType type;
};

struct Options {
  Granularity granularity = Granularity::tensor;
  Rounding rounding = Rounding::nearest;
  std::uint64_t first_index = 0;
  int planes = 1;
  std::int64_t extra_stride = 0;  // bytes between planes beyond plane_stride()
  bool is_unsigned = false;
  Grid grid = Grid::every;
  float qmax() const {
    if (grid == Grid::flagged) return 16256;
    return is_unsigned ? 255.0f : static_cast<float>(largest_integer(planes));
  }
  bool want_max = true, squares = true;
  float lowest() const { return is_unsigned ? 0.0f : -qmax(); }
  float gain = qmax() / 127;  // of the scales: some values saturate at any width
  std::vector<float> inverse(const Inputs& in) const {
    std::vector<float> values = in.inverse;
    for (float& v : values) v *= gain;
    return values;
  }
};

Outcome run(Isa isa, int threads, const Inputs& in, std::vector<Step> steps, const Options& options,
            bool with_quantize = true, const Types& types = {}) {
  const Sizes& s = in.sizes;
  const auto size = static_cast<std::size_t>(s.elements()), channels = static_cast<std::size_t>(s.c);
  Outcome out{
      .stored = std::vector<float>(size),
      .stored_late = std::vector<float>(size),
      .bits = std::vector<std::uint8_t>(size / 8 + 1, 0xFF),
      .max_bits = std::vector<std::uint32_t>(std::max<std::size_t>(channels, static_cast<std::size_t>(s.n))),
      .sum_v = std::vector<double>(channels, -1),
      .sum_vx = std::vector<double>(channels, -1)};
  Stored x(in.x, types.x), y(in.y, types.y), early(out.stored, types.out), late(out.stored_late, types.out);
  for (Step& step : steps) {
    if (step.kind == StepKind::store) step.out = step.d == nullptr ? early.target() : late.target();
    if (step.x) step.x = y.target();
    if (step.kind == StepKind::store_bits) step.bits_out = out.bits.data();
  }
  const std::vector<float> inverse = options.inverse(in);
  Quantize quantize{.granularity = options.granularity,
                    .inverse_scale = inverse.data(),
                    .planes = options.planes,
                    .is_unsigned = options.is_unsigned,
                    .grid = options.grid,
                    .qmax = options.qmax(),
                    .rounding = options.rounding,
                    .squares = options.squares,
                    .key = random_key(1, 2, 3),
                    .first_index = options.first_index};
  std::vector<Buffer> buffers;
  const std::vector<View> views =
      with_quantize ? all_views(s, options.is_unsigned ? 0 : 128) : std::vector<View>{};
  quantize.views = views;
  std::int64_t stride = 0;  // one for all views, when it is not each view's own
  for (const View& view : quantize.views) stride = std::max(stride, plane_stride(view));
  if (options.extra_stride > 0) quantize.stride = stride + options.extra_stride;
  for (const View& view : quantize.views)
    buffers.emplace_back(planes_bytes(view, options.planes) + most_planes * quantize.stride);
  std::vector<void*> targets;
  targets.reserve(buffers.size());
  for (Buffer& buffer : buffers) targets.push_back(buffer.data());
  quantize.targets = targets;
  Chain chain{.n = s.n,
              .h = s.h,
              .w = s.w,
              .c = s.c,
              .x = x.target(),
              .steps = steps,
              .quantize = with_quantize ? &quantize : nullptr,
              .want_max = options.want_max,
              .stats = &out.stats,
              .max_bits = out.max_bits.data(),
              .max_granularity = options.granularity,
              .sum_v = out.sum_v.data(),
              .sum_vx = out.sum_vx.data()};
  Buffer scratch(chain_scratch_bytes(chain));
  chain.scratch = scratch.data();
  ThreadPool pool(threads);
  run_chain(isa, chain, parallel_of(pool));
  for (std::size_t i = 0; i < size; ++i) {
    out.stored[i] = FloatSource(early.target())[static_cast<std::int64_t>(i)];
    out.stored_late[i] = FloatSource(late.target())[static_cast<std::int64_t>(i)];
  }
  for (int plane = 0; plane < options.planes; ++plane)
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const std::int64_t apart = quantize.stride > 0 ? quantize.stride : plane_stride(quantize.views[i]);
      const char* data = static_cast<const char*>(buffers[i].data()) + plane * apart;
      out.views.emplace_back(data, data + layout_bytes(quantize.views[i]));
    }
  return out;
}

/// Every kind of step at least once.
std::vector<Step> forward_steps(const Inputs& in) {
  const float *a = in.a.data(), *b = in.b.data();
  return {{.kind = StepKind::store},
          {.kind = StepKind::scale_shift, .a = a, .b = b},
          {.kind = StepKind::add, .x = in.y.data()},
          {.kind = StepKind::store_bits, .lo = 0.0f, .hi = 1.5f},
          {.kind = StepKind::relu},
          {.kind = StepKind::drop, .lo = 0.25f, .hi = 4.0f / 3, .key = random_key(4, 5, 6), .first_index = 7},
          {.kind = StepKind::store, .d = in.d.data()},
          {.kind = StepKind::sums},
          {.kind = StepKind::clamp, .hi = 1.25f}};
}

std::vector<Step> backward_steps(const Inputs& in) {
  const float *a = in.a.data(), *b = in.b.data(), *d = in.d.data(), *y = in.y.data();
  return {{.kind = StepKind::keep_where, .a = a, .b = b, .x = y, .lo = -0.5f, .hi = 1.0f},
          {.kind = StepKind::keep_bits, .bits = in.bits.data()},
          {.kind = StepKind::sums, .b = b, .x = y},
          {.kind = StepKind::combine, .a = a, .b = b, .d = d, .x = y},
          {.kind = StepKind::store}};
}

const Options all_options[] = {
    {Granularity::tensor, Rounding::nearest, 0},
    {Granularity::channel, Rounding::stochastic, 12345},
    {Granularity::sample, Rounding::stochastic, (std::uint64_t{5} << 33) - 77},
    {Granularity::channel, Rounding::nearest, 0},
    {Granularity::tensor, Rounding::stochastic, 1, 2},
    {Granularity::channel, Rounding::nearest, 0, 2, 64},
    {Granularity::sample, Rounding::nearest, 0, 3},
    {Granularity::channel, Rounding::stochastic, 77, 3},
    {Granularity::tensor, Rounding::nearest, 0, 1, 0, true},
    {Granularity::channel, Rounding::stochastic, 5, 1, 0, true},
    {Granularity::tensor, Rounding::nearest, 0, 2, 0, false, Grid::odd},
    {Granularity::sample, Rounding::stochastic, 9, 3, 0, false, Grid::odd},
    {Granularity::tensor, Rounding::nearest, 0, 2, 0, false, Grid::flagged},
    {Granularity::channel, Rounding::stochastic, 6, 2, 0, false, Grid::flagged},
};

void check_all(const Inputs& in, const std::vector<Step>& steps) {
  for (const Options& options : all_options) {
    const Outcome expected = run(Isa::ref, 1, in, steps, options);
    for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni}) {
      if (!isa_supported(isa)) continue;
      for (int threads : {1, 3}) {
        INFO(isa_name(isa) << ' ' << threads << " threads, granularity "
                           << static_cast<int>(options.granularity));
        check_equal(run(isa, threads, in, steps, options), expected);
      }
    }
  }
}

}  // namespace

TEST_CASE("chains are bit-equal on every instruction set and thread count") {
  for (const Sizes& s : shapes) {
    INFO(s.n << 'x' << s.h << 'x' << s.w << 'x' << s.c);
    const Inputs in(s);
    check_all(in, forward_steps(in));
    check_all(in, backward_steps(in));
  }
}

/// The chains that vector code runs in one pass, with stores on their way, and sums with what stands before
/// them.
std::vector<std::vector<Step>> frequent_steps(const Inputs& in) {
  const float *a = in.a.data(), *b = in.b.data(), *d = in.d.data(), *y = in.y.data();
  const Step scale{.kind = StepKind::scale_shift, .a = a, .b = b}, add{.kind = StepKind::add, .x = y},
      relu{.kind = StepKind::relu}, clamp{.kind = StepKind::clamp, .hi = 1.25f},
      bits{.kind = StepKind::store_bits, .lo = 0.0f, .hi = 1.5f}, store{.kind = StepKind::store},
      late{.kind = StepKind::store, .d = d}, keep{.kind = StepKind::keep_bits, .bits = in.bits.data()},
      combine{.kind = StepKind::combine, .a = a, .b = b, .d = d, .x = y};
  return {{},
          {scale},
          {add, store},
          {scale, store, add},
          {relu},
          {scale, relu},
          {scale, clamp, store},
          {scale, add, relu},
          {bits, relu},
          {scale, bits, relu, store},
          {scale, bits, clamp},
          {scale, store, add, bits, relu, late},
          {keep, store},
          {combine, store},
          {keep, store, combine, late}};
}
std::vector<std::vector<Step>> frequent_sums(const Inputs& in) {
  const float *a = in.a.data(), *b = in.b.data(), *y = in.y.data();
  const Step scale{.kind = StepKind::scale_shift, .a = a, .b = b},
      look{.kind = StepKind::scale_shift, .a = a}, squares{.kind = StepKind::sums},
      sums{.kind = StepKind::sums, .b = b, .x = y}, keep{.kind = StepKind::keep_bits, .bits = in.bits.data()};
  return {{scale, squares}, {sums}, {sums, look}, {keep, sums}, {keep, sums, look}};
}

TEST_CASE("frequent chains are bit-equal on every instruction set, with and without maxima") {
  for (const Sizes& s : shapes) {
    INFO(s.n << 'x' << s.h << 'x' << s.w << 'x' << s.c);
    const Inputs in(s);
    for (const bool want_max : {false, true}) {
      for (const std::vector<Step>& steps : frequent_steps(in))
        for (Options options : all_options) {
          options.want_max = want_max;
          const Outcome expected = run(Isa::ref, 1, in, steps, options);
          for (Isa isa : {Isa::avx2, Isa::avx512vnni})
            if (isa_supported(isa)) check_equal(run(isa, 2, in, steps, options), expected);
        }
      for (const auto& list : {frequent_steps(in), frequent_sums(in)})
        for (const std::vector<Step>& steps : list) {
          const Options options{.granularity = Granularity::sample, .want_max = want_max};
          const Outcome expected = run(Isa::ref, 1, in, steps, options, false);
          for (Isa isa : {Isa::avx2, Isa::avx512vnni})
            if (isa_supported(isa)) check_equal(run(isa, 2, in, steps, options, false), expected);
        }
    }
  }
}

void round_to_bf16(std::vector<float>& values) {
  for (float& v : values) v = to_float(to_bf16(v));
}

TEST_CASE("bfloat16 is FP32 rounded to nearest, ties to even, and NaN stays NaN") {
  const float inf = std::numeric_limits<float>::infinity();
  const auto bits = [](float v) { return int{to_bf16(v).bits}; };
  CHECK(bits(1.0f) == 0x3F80);
  CHECK(bits(1.0f + 0x1p-8f) == 0x3F80);  // a tie
  CHECK(bits(1.0f + 0x3p-8f) == 0x3F82);  // a tie
  CHECK(bits(1.0f + 0x1p-8f + 0x1p-23f) == 0x3F81);
  CHECK(bits(-0.0f) == 0x8000);
  CHECK(bits(3.4e38f) == 0x7F80);
  CHECK(bits(-inf) == 0xFF80);
  CHECK(bits(0x1p-149f) == 0);
  CHECK(bits(0x1p-133f) == 1);
  CHECK(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7FFFFFFFu)))));
  CHECK(std::isnan(to_float(to_bf16(std::bit_cast<float>(0xFF800001u)))));
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    const float v = to_float(Bf16{static_cast<std::uint16_t>(upper)});
    if (!std::isnan(v)) REQUIRE(to_bf16(v).bits == upper);
  }
}

TEST_CASE("chains over bfloat16 tensors are those over the same values in FP32, results rounded") {
  constexpr FloatType f32 = FloatType::f32, bf16 = FloatType::bf16;
  for (const Sizes& s : shapes) {
    INFO(s.n << 'x' << s.h << 'x' << s.w << 'x' << s.c);
    Inputs in(s);
    if (s.elements() % 5 == 0) in.x = hostile_values(s.elements());
    round_to_bf16(in.x), round_to_bf16(in.y);
    std::vector<std::vector<Step>> chains{forward_steps(in), backward_steps(in)};
    for (const auto& list : {frequent_steps(in), frequent_sums(in)})
      chains.insert(chains.end(), list.begin(), list.end());
    for (const std::vector<Step>& steps : chains)
      for (const bool with_quantize : {true, false})
        for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
          const Options options{.granularity = Granularity::sample, .rounding = rounding};
          Outcome expected = run(Isa::ref, 1, in, steps, options, with_quantize);
          round_to_bf16(expected.stored), round_to_bf16(expected.stored_late);
          for (const Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni})
            for (const Types& types :
                 {Types{bf16, bf16, bf16}, Types{f32, bf16, bf16}, Types{bf16, f32, bf16}})
              if (isa_supported(isa))
                check_equal(run(isa, 2, in, steps, options, with_quantize, types), expected);
        }
  }
}

TEST_CASE("chains are bit-equal on zeros, denormals, Inf, NaN and huge values") {
  for (const Sizes& s : {Sizes{1, 7, 5, 3}, Sizes{3, 8, 8, 64}, Sizes{2, 9, 11, 17}}) {
    Inputs in(s);
    in.x = hostile_values(s.elements());
    check_all(in, forward_steps(in));
    check_all(in, backward_steps(in));
    std::fill(in.x.begin(), in.x.end(), 0.0f);
    check_all(in, {});
  }
}

TEST_CASE("a look sees every value where it stands, in whole pixels of one sample, and changes nothing") {
  for (const Sizes& s : shapes) {
    INFO(s.n << 'x' << s.h << 'x' << s.w << 'x' << s.c);
    const Inputs in(s);
    const std::vector<Step> plain = {{.kind = StepKind::scale_shift, .a = in.a.data(), .b = in.b.data()},
                                     {.kind = StepKind::relu},
                                     {.kind = StepKind::store}};
    for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni}) {
      if (!isa_supported(isa)) continue;
      const Outcome expected = run(isa, 1, in, plain, {});
      std::mutex mutex;
      std::vector<std::vector<float>> seen(static_cast<std::size_t>(s.n * s.c)), stored = seen;
      const auto collect = [&](std::int64_t sample, std::int64_t pixels, const float* v) {
        const std::lock_guard lock(mutex);
        for (std::int64_t i = 0; i < pixels * s.c; ++i)
          seen[static_cast<std::size_t>(sample * s.c + i % s.c)].push_back(v[i]);
      };
      const LookAt look(collect);
      std::vector<Step> steps = plain;
      steps.insert(steps.begin() + 2, {.kind = StepKind::look, .look = &look});
      const Outcome outcome = run(isa, 2, in, steps, {});
      check_equal(outcome, expected);
      for (std::int64_t i = 0; i < s.elements(); ++i)
        stored[static_cast<std::size_t>(i / (s.h * s.w * s.c) * s.c + i % s.c)].push_back(
            outcome.stored[static_cast<std::size_t>(i)]);
      for (auto* lists : {&seen, &stored})
        for (std::vector<float>& values : *lists) std::sort(values.begin(), values.end());
      CHECK((seen == stored));
    }
  }
}

TEST_CASE("a chain without quantize leaves the same floats, bits, sums and maxima") {
  for (const Sizes& s : shapes) {
    const Inputs in(s);
    const Outcome expected = run(Isa::ref, 1, in, forward_steps(in), {}, false);
    for (Isa isa : {Isa::avx2, Isa::avx512vnni})
      if (isa_supported(isa)) check_equal(run(isa, 2, in, forward_steps(in), {}, false), expected);
  }
}

TEST_CASE("maxima of scaled values are those of the reference") {
  for (const Sizes& s : shapes) {
    Inputs in(s);
    if (s.elements() % 2 != 0 && s.elements() > 1) in.x = hostile_values(s.elements());
    for (const Granularity granularity : {Granularity::tensor, Granularity::sample, Granularity::channel})
      for (const float* b : {static_cast<const float*>(nullptr), static_cast<const float*>(in.b.data())}) {
        const std::vector<Step> steps = {{.kind = StepKind::sums, .b = in.b.data(), .x = in.y.data()},
                                         {.kind = StepKind::scale_shift, .a = in.a.data(), .b = b}};
        const Outcome expected = run(Isa::ref, 1, in, steps, {granularity}, false);
        CHECK(*std::max_element(expected.max_bits.begin(), expected.max_bits.end()) > 0);
        for (Isa isa : {Isa::avx2, Isa::avx512vnni})
          if (isa_supported(isa)) check_equal(run(isa, 2, in, steps, {granularity}, false), expected);
      }
  }
}

TEST_CASE("the reference quantizes as the formula says, and its views are those of write_view") {
  for (const Sizes& s : shapes)
    for (const Options& options : all_options) {
      const Inputs in(s);
      const Outcome outcome = run(Isa::ref, 1, in, {}, options);
      std::vector<std::vector<std::int8_t>> digits(3);
      for (auto& plane : digits) plane.resize(static_cast<std::size_t>(s.elements()));
      const std::vector<float> inverse = options.inverse(in);
      QuantizeStats stats;
      for (std::int64_t i = 0; i < s.elements(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const std::int64_t scale_at = options.granularity == Granularity::tensor    ? 0
                                      : options.granularity == Granularity::channel ? i % s.c
                                                                                    : i / (s.h * s.w * s.c);
        const float t = in.x[at] * inverse[static_cast<std::size_t>(scale_at)];
        const double clamped = std::clamp<double>(t, options.lowest(), options.qmax());
        const std::uint32_t u =
            random_bits16(random_key(1, 2, 3), options.first_index + static_cast<std::uint64_t>(i));
        const bool odd = options.grid == Grid::odd;
        const double unit = options.grid == Grid::flagged && std::fabs(clamped) >= 128 ? 128 : 1;
        const double steps = odd ? (static_cast<float>(clamped) - 1.0f) * 0.5f : clamped / unit;
        double rounded = std::nearbyint(steps);
        if (options.rounding == Rounding::stochastic) {
          const double whole = options.planes > 1 ? std::floor(steps) : 0;
          const float rest = static_cast<float>(steps - whole);  // exact where whole is not 0 or t is small
          rounded = whole + std::floor(rest + static_cast<float>(u) / 65536.0f);
        }
        const auto q = static_cast<std::int64_t>(odd ? 2 * rounded + 1 : unit * rounded);
        stats.merge(
            {std::bit_cast<std::uint32_t>(std::fabs(in.x[at])), std::fabs(t) > options.qmax() + 0.5f, q * q});
        // Digits from the top: each leaves a remainder that the lower ones can hold.
        std::int64_t left = q;
        for (int plane = options.planes - 1; plane >= 0; --plane) {
          const double place = std::pow(256.0, plane),
                       below = 128 * (place - 1) / 255;  // -below is the least
          const auto digit =
              static_cast<std::int64_t>(std::floor((static_cast<double>(left) + below) / place));
          digits[static_cast<std::size_t>(plane)][at] = static_cast<std::int8_t>(digit);
          REQUIRE(std::abs(digit) <= (options.is_unsigned ? 255 : plane + 1 < options.planes ? 128 : 127));
          left -= digit * static_cast<std::int64_t>(place);
        }
        REQUIRE(left == 0);
      }
      CHECK(outcome.stats.max_bits == stats.max_bits);
      CHECK(outcome.stats.saturated == stats.saturated);
      CHECK(outcome.stats.sum_square == stats.sum_square);
      const std::vector<View> views = all_views(s, options.is_unsigned ? 0 : 128);
      for (std::size_t i = 0; i < outcome.views.size(); ++i) {
        INFO(s.n << 'x' << s.h << 'x' << s.w << 'x' << s.c << " view " << i);
        const View& view = views[i % views.size()];
        Buffer expected(view.bytes());
        write_view(digits[i / views.size()].data(), view, expected.data());
        CHECK(std::memcmp(expected.data(), outcome.views[i].data(), outcome.views[i].size()) == 0);
      }
    }
}

TEST_CASE("sums of a chain are those of the tensor") {
  for (const Sizes& s : shapes) {
    const Inputs in(s);
    const Outcome outcome =
        run(active_isa(), 2, in, {{.kind = StepKind::sums, .b = in.b.data(), .x = in.y.data()}}, {}, false);
    for (std::int64_t channel = 0; channel < s.c; ++channel) {
      double sum = 0, product = 0, scale = 0;
      for (auto i = static_cast<std::size_t>(channel); i < in.x.size(); i += static_cast<std::size_t>(s.c)) {
        const double centred = static_cast<double>(in.y[i]) - in.b[static_cast<std::size_t>(channel)];
        sum += in.x[i];
        product += in.x[i] * centred;
        scale += std::fabs(in.x[i]) * (1 + std::fabs(centred));
      }
      const auto at = static_cast<std::size_t>(channel);
      CHECK(std::fabs(outcome.sum_v[at] - sum) <= 1e-6 * scale);
      CHECK(std::fabs(outcome.sum_vx[at] - product) <= 1e-6 * scale);
    }
  }
}

TEST_CASE("a NaN quantizes to zero and shows in max_bits") {
  const Sizes s{1, 4, 4, 3};
  Inputs in(s);
  in.x[7] = NAN;
  for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni}) {
    if (!isa_supported(isa)) continue;
    const Outcome outcome = run(isa, 1, in, {}, {});
    CHECK(outcome.stats.max_bits >= 0x7F800000u);
    CHECK(outcome.views[0][7] == 0);
  }
}

/// Of the integers whose digits are the plain views of the planes.
double mean_magnitude(const Outcome& outcome, int planes, std::int64_t count) {
  const std::size_t views = outcome.views.size() / static_cast<std::size_t>(planes);
  double sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    double integer = 0;
    for (std::size_t plane = static_cast<std::size_t>(planes); plane-- > 0;)
      integer = 256 * integer + static_cast<signed char>(outcome.views[plane * views][i]);
    sum += std::fabs(integer);
  }
  return sum / static_cast<double>(count);
}

TEST_CASE("squares are counted where they are asked for, and nothing else changes") {
  const Inputs in({2, 5, 7, 19});
  for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni})
    for (int planes : {1, 2, 3}) {
      if (!isa_supported(isa)) continue;
      const Outcome with = run(isa, 1, in, {}, {.planes = planes}),
                    without = run(isa, 1, in, {}, {.planes = planes, .squares = false});
      CHECK((with.stats.sum_square > 0 && without.stats.sum_square == 0));
      CHECK(with.stats.max_bits == without.stats.max_bits);
      CHECK(with.stats.saturated == without.stats.saturated);
      CHECK(with.views == without.views);
    }
}

TEST_CASE("wide integers keep their range, and stochastic rounding is fair at any size") {
  constexpr std::int64_t count = 1 << 20;
  for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni})
    for (int planes : {2, 3}) {
      if (!isa_supported(isa)) continue;
      INFO(isa_name(isa) << ' ' << planes << " planes");
      // Exactly representable values: an integer stays itself, a half goes up every second time.
      const auto top = static_cast<float>(largest_integer(planes));
      for (const float value : {top, -top, top - 1.5f, 1.0e9f, -1.0e9f, 0.25f, -1.0e-30f}) {
        Inputs in({1, 1, count / 16, 16});
        std::fill(in.x.begin(), in.x.end(), value);
        std::fill(in.inverse.begin(), in.inverse.end(), 1.0f);
        const Outcome outcome =
            run(isa, 1, in, {}, {.rounding = Rounding::stochastic, .planes = planes, .gain = 1});
        const double t = std::clamp(value, -top, top), draws = static_cast<double>(count);
        const double mean = mean_magnitude(outcome, planes, count);
        const double spread = 5 * 0.5 / std::sqrt(draws);  // five standard deviations of a fair coin
        INFO("value " << value);
        CHECK(std::fabs(mean - std::fabs(t)) <= (t == std::floor(t) ? 0.0 : spread));
        CHECK(outcome.stats.saturated == (std::fabs(value) > top ? count : 0));
      }
    }
}

TEST_CASE("integers that the planes cannot hold are refused") {
  Quantize quantize{.planes = 2, .qmax = 32639};
  Chain chain{.quantize = &quantize};
  CHECK(chain_scratch_bytes(chain) > 0);
  quantize.qmax = 32640;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize.planes = 4;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize = {.planes = 2, .grid = Grid::odd, .qmax = 255};
  CHECK(chain_scratch_bytes(chain) > 0);
  quantize.qmax = 254;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize = {.planes = 1, .grid = Grid::odd, .qmax = 127};
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize = {.planes = 2, .grid = Grid::flagged, .qmax = 16256};
  CHECK(chain_scratch_bytes(chain) > 0);
  quantize.qmax = 16383;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize = {.is_unsigned = true, .qmax = 255};
  CHECK(chain_scratch_bytes(chain) > 0);
  View view;  // its zero is 128
  quantize.views = {&view, 1};
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  view.zero = 0;
  CHECK(chain_scratch_bytes(chain) > 0);
  quantize.qmax = 256;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
  quantize.qmax = 255, quantize.planes = 2;
  CHECK_THROWS_AS(chain_scratch_bytes(chain), std::logic_error);
}
