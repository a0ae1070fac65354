// The headers of the CUDA backend's chains: what each thread takes, the structure of sums, runs of bits,
// steps on the values of a thread, and what is refused.
#include "cuda/chain_segment.h"
#include "support/cuda_chain_runs.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

cu::ImageLayout draw_layout(std::mt19937& generator) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  const int groups = draw(0, 2) == 0 ? draw(2, 5) : 1;
  return {draw(1, 70), draw(1, 9), draw(1, 9), groups * draw(1, 300 / groups), groups};
}

/// How often each segment of each pixel is taken.
class Taken {
 public:
  explicit Taken(const cu::ImageLayout& l)
      : slots_(cu::pixel_slots(l)), times_(static_cast<std::size_t>(cu::pixels_of(l) * slots_)) {}
  void add(std::int64_t pixel, int slot) {
    ++times_.at(static_cast<std::size_t>(pixel * slots_ + slot / cu::segment_bytes));
  }
  bool once() const {
    return std::all_of(times_.begin(), times_.end(), [](int times) { return times == 1; });
  }

 private:
  int slots_;
  std::vector<int> times_;
};

void check_pixel_walk(const cu::ImageLayout& l) {
  const cu::PixelWalk walk = cu::pixel_walk(l);
  Taken taken(l);
  for (std::int64_t block = 0; block < walk.blocks(l); ++block)
    for (int thread = 0; thread < cu::chain_threads; ++thread) {
      const cu::PixelRun run = cu::pixel_run(l, walk, block, thread);
      for (int pixel = run.pixel; pixel < run.end; pixel += walk.lanes) taken.add(pixel, run.slot);
    }
  CHECK(taken.once());
}

void check_batch_walk(const cu::ImageLayout& l) {
  const cu::BatchWalk walk = cu::batch_walk(l);
  Taken taken(l);
  for (std::int64_t block = 0; block < walk.blocks(l); ++block) {
    const cu::QuantizeBlock first = walk.first(l, block);
    for (int pixel = first.pixel; pixel < std::min(first.pixel + walk.pixels, l.h * l.w); ++pixel)
      for (int thread = 0; thread < cu::chain_threads; ++thread) {
        const cu::QuantizeShare in = cu::channel_share(thread);
        const int image = first.image + in.image, slot = first.slot + in.slot;
        if (cu::segment_at(l, image, pixel, slot).count > 0)
          taken.add(std::int64_t{image} * l.h * l.w + pixel, slot);
      }
  }
  CHECK(taken.once());
}

/// Pieces are the blocks of the CPU's chunks, in their order.
void check_sums_walk(const cu::ImageLayout& l) {
  const ChainPlan plan = plan_chain({.n = l.n, .h = l.h, .w = l.w, .c = l.c});
  const cu::SumsWalk walk = cu::sums_walk(l);
  REQUIRE(walk.chunks == plan.chunks);
  REQUIRE(walk.round_pieces() >= 1);
  bool equal = true;
  for (int chunk = 0; chunk < walk.chunks; ++chunk) {
    std::int64_t piece = walk.first_piece(chunk);
    for_tiles(plan, chunk, [&](const ChainTile& tile) {
      for_blocks(plan, tile, [&](const ChainTile& block, std::int64_t) {
        const cu::SumsWalk::Pixels pixels = walk.pixels(piece++);
        equal &= pixels.first == block.first / l.c && pixels.end == (block.first + block.count) / l.c;
      });
    });
    equal &= piece == walk.first_piece(chunk + 1);
  }
  CHECK(equal);
}

}  // namespace

TEST_CASE("cuda: threads of chains take every segment of every pixel once") {
  std::mt19937 generator(5);
  for (int i = 0; i < 60; ++i) {
    const cu::ImageLayout l = i == 0 ? cu::ImageLayout{2, 40, 30, 1029, 3} : draw_layout(generator);
    INFO(l.n << "x" << l.h << "x" << l.w << "x" << l.c << " groups " << l.groups);
    check_pixel_walk(l);
    check_batch_walk(l);
  }
  check_pixel_walk({2, 600, 600, 1, 1});
  check_batch_walk({1, 60, 61, 3, 1});
}

TEST_CASE("cuda: sums have the structure of the CPU's plan") {
  std::mt19937 generator(6);
  for (int i = 0; i < 60; ++i) {
    cu::ImageLayout l = draw_layout(generator);
    l.groups = 1;
    INFO(l.n << "x" << l.h << "x" << l.w << "x" << l.c);
    check_sums_walk(l);
    l.c = 1 + l.c % 12;
    check_sums_walk(l);
  }
  for (const cu::ImageLayout& l :
       {cu::ImageLayout{2, 33, 31, 16}, cu::ImageLayout{1, 2, 300, 224}, cu::ImageLayout{3, 5, 700, 100},
        cu::ImageLayout{1, 1, 3, 5000}, cu::ImageLayout{2, 1, 1, 40000}, cu::ImageLayout{1, 1, 1030, 13},
        cu::ImageLayout{256, 7, 7, 2048}, cu::ImageLayout{64, 56, 56, 64}}) {
    INFO(l.n << "x" << l.h << "x" << l.w << "x" << l.c);
    check_sums_walk(l);
  }
}

namespace {

/// A block of one thread.
struct PlainBlock {
  void join_bits(std::uint8_t* word, std::uint32_t bits) {
    std::uint32_t before;
    std::memcpy(&before, word, 4);
    before |= bits;
    std::memcpy(word, &before, 4);
  }
  void add_sums(const cu::Values&, const cu::Values&) {}
  void look(const cu::Segment&, const cu::Values&) {}
};

}  // namespace

TEST_CASE("cuda: runs of bits are read and joined as the chain stores them") {
  std::mt19937 generator(7);
  for (std::int64_t first = 0; first < 70; ++first)
    for (int count = 0; count <= cu::segment_bytes; ++count) {
      std::vector<std::uint8_t> bits(12, 0), expected(12, 0),
          read(static_cast<std::size_t>(first + count + 7) / 8);
      for (std::uint8_t& byte : read) byte = static_cast<std::uint8_t>(generator());
      const std::uint32_t run = generator(), loaded = cu::load_bits(read.data(), first, count);
      for (int i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(first + i);
        expected[at / 8] |= static_cast<std::uint8_t>((run >> i & 1) << (at % 8));
        REQUIRE((loaded >> i & 1) == (static_cast<unsigned>(read[at / 8]) >> (at % 8) & 1));
      }
      PlainBlock block;
      for (const bool whole : {false, true}) {
        if (whole && (first % 8 != 0 || count % 8 != 0)) continue;
        std::fill(bits.begin(), bits.end(), std::uint8_t{0});
        cu::store_bits(bits.data(), whole, first, count, run, block);
        REQUIRE(bits == expected);
      }
    }
}

TEST_CASE("cuda: the steps of a thread give the reference's values") {
  std::mt19937 generator(8);
  for (int i = 0; i < 300; ++i) {
    ChainCase c = draw_chain(generator, 20000);
    std::erase_if(c.kinds, [](StepKind kind) { return kind == StepKind::sums || kind == StepKind::look; });
    c.kinds.push_back(StepKind::store);
    c.pixel = c.batch = c.want_max = c.histogram = c.channels = c.reach = false;
    c.hostile = i % 3 == 0;
    INFO(describe(c));
    HostMemory memory;
    CudaChain<HostMemory> chain(c, memory);
    const cu::ChainPass& pass = chain.pass();
    for (int s = 0; s < pass.step_count; ++s)
      if (pass.steps[s].kind == StepKind::store_bits)
        std::memset(pass.steps[s].bits_out, 0, static_cast<std::size_t>(cu::shared_bit_words(c.layout)) * 4);
    PlainBlock block;
    for (int image = 0; image < c.layout.n; ++image)
      for (int pixel = 0; pixel < c.layout.h * c.layout.w; ++pixel)
        for (int slot = 0; slot < c.layout.pixel_pitch(); slot += cu::segment_bytes) {
          cu::Values v;
          cu::run_steps(pass, cu::segment_at(c.layout, image, pixel, slot), v, block);
        }
    check_equal(chain.outcome(), ReferenceChain(c).run());
  }
}

TEST_CASE("cuda: draws of a step come from one counter") {
  const cu::Draws draws =
      cu::draws_of({.seed = 3, .step = 17, .micro_step = 2}, {.stream = 99, .elements = 1000});
  const RandomKey key = random_key(3, 17, 99);
  CHECK((draws.key.a == key.a && draws.key.b == key.b && draws.first_index == 2000));
  const cu::QuantizeRule rule = cu::with_draws({.key = {1, 2}, .first_index = 5}, &draws);
  CHECK((rule.key.a == key.a && rule.first_index == 2000));
  CHECK(cu::with_draws({.key = {1, 2}, .first_index = 5}, nullptr).first_index == 5);
}

namespace {

/// A pass that check_pass() takes.
struct GoodPass {
  alignas(16) float floats[64] = {};
  alignas(16) std::int8_t bytes[64] = {};
  alignas(16) unsigned words[64] = {};
  cu::QuantizeCounts counts;
  cu::Draws draws;

  cu::ChainPass pass(const std::vector<StepKind>& kinds) {
    cu::ChainPass p;
    p.layout = {1, 2, 2, 3, 1};
    p.x = floats;
    for (const StepKind kind : kinds) {
      cu::ChainStep& step = p.steps[p.step_count++];
      step.kind = kind, step.out = floats, step.draws = &draws;
      step.bits = reinterpret_cast<std::uint8_t*>(bytes),
      step.bits_out = reinterpret_cast<std::uint8_t*>(bytes);
    }
    return p;
  }
  cu::ChainPass with_tail() {
    cu::ChainPass p = pass({StepKind::relu});
    p.scales = {floats, Granularity::tensor}, p.pixel_copy = bytes, p.counts = &counts, p.draws = &draws;
    p.rule.stochastic = true;
    return p;
  }
  cu::ChainPass with_sums() {
    cu::ChainPass p = pass({StepKind::sums});
    p.sum_v = reinterpret_cast<double*>(floats), p.scratch = floats;
    return p;
  }
  cu::ChainPass with_look() {
    cu::ChainPass p = pass({StepKind::look});
    p.look.reach = words, p.look.inverse_scale = floats;
    return p;
  }
};

template <class Change>
void refused(cu::ChainPass pass, const Change& change, const std::string& why) {
  CHECK_NOTHROW(cu::check_pass(pass, ""));
  change(pass);
  CHECK_THROWS_WITH(cu::check_pass(pass, cu::describe_pass("run_chain", pass.layout)),
                    ContainsSubstring("cuda/run_chain of ") && ContainsSubstring(why));
}

}  // namespace

TEST_CASE("cuda: chains refuse sizes, steps and tails by name") {
  GoodPass good;
  using enum StepKind;
  using P = cu::ChainPass;
  refused(
      good.pass({}), [](P& p) { p.layout.h = 0; }, "sizes start at 1");
  refused(
      good.pass({}),
      [](P& p) {
        p.layout = {2, 1 << 15, 1 << 15, 1, 1};
      },
      "2^31 pixels");
  refused(
      good.pass({}),
      [](P& p) {
        p.layout = {1, 1 << 15, 1 << 14, 1 << 25, 1};
      },
      "2^31 blocks or more");
  refused(
      good.pass({}), [](P& p) { p.step_count = 17; }, "17 steps; a chain has at most 16");
  refused(
      good.pass({}),
      [&](P& p) {
        p.x = {good.bytes + 1, FloatType::bf16};
      },
      "x does not start");
  refused(
      good.pass({add}),
      [&](P& p) {
        p.steps[0].x = {good.bytes + 2, FloatType::f32};
      },
      "step 0: x does not");
  refused(
      good.pass({relu, store}), [](P& p) { p.steps[1].out = {}; }, "step 1: out is null");
  refused(
      good.pass({keep_bits}), [](P& p) { p.steps[0].bits = nullptr; }, "bits is null");
  refused(
      good.pass({store_bits}), [](P& p) { ++p.steps[0].bits_out; },
      "bits_out does not start at a multiple of 4");
  refused(
      good.pass({drop}), [](P& p) { p.steps[0].draws = nullptr; }, "draws is null");
  refused(
      good.with_tail(), [](P& p) { p.scales.inverse = nullptr; }, "inverse scales is null");
  refused(
      good.with_tail(), [](P& p) { p.draws = nullptr; }, "draws of stochastic rounding is null");
  refused(
      good.with_tail(), [](P& p) { ++p.pixel_copy; }, "pixel_copy does not start");
  refused(
      good.with_tail(), [](P& p) { p.pixel_copy = nullptr; }, "counts without a copy");
  refused(
      good.with_tail(), [](P& p) { p.layout.places = 16; }, "with turn_image()");
  refused(
      good.with_tail(), [](P& p) { p.rule.planes = 4; }, "1 to 3 planes");
  refused(
      good.with_sums(), [](P& p) { p.sum_v = nullptr; }, "neither sum_v nor sum_vx");
  refused(
      good.with_sums(), [](P& p) { p.scratch = nullptr; }, "scratch is null");
  refused(
      good.with_sums(), [](P& p) { p.steps[p.step_count++].kind = sums; }, "at most one step of sums");
  refused(
      good.with_look(), [](P& p) { p.look.reach = nullptr; }, "no statistics are asked for");
  refused(
      good.with_look(), [](P& p) { p.step_count = 0; }, "no step that looks");
  refused(
      good.with_look(), [](P& p) { p.look.inverse_scale = nullptr; }, "inverse_scale is null");
  refused(
      good.with_look(), [](P& p) { p.look.counts = reinterpret_cast<unsigned long long*>(p.look.reach); },
      "sums is null");
}

TEST_CASE("cuda: the device's NaN is counted where the CPU's is") {
  const auto bits = [](std::uint32_t of) { return cu::counted_bits(std::bit_cast<float>(of)); };
  const float zero = 0;
  CHECK(bits(0x7FFFFFFF) == bits(std::bit_cast<std::uint32_t>(zero / zero)));
  CHECK(bits(0xFFFFFFFF) >> 19 == 4088);
  for (std::uint32_t same : {0U, 1U, 0x3F800000U, 0x7F7FFFFFU, 0x7F800000U, 0x7FC00001U, 0x7FFFFFFEU})
    CHECK((bits(same) == same && bits(same | 0x80000000U) == same));
}
