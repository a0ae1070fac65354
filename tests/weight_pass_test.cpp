// Weights quantized and packed in one pass, against the steps one by one: the reference chain into plain
// integers, which are packed as a whole. Equal bytes and counts.
#include "weight_pass.h"

#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "core/thread_pool.h"
#include "support/catch.h"
#include "support/conv_shapes.h"
#include "support/draw.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

struct Case {
  int planes;
  Granularity granularity;
  Rounding rounding;
  bool factors = false;  // one for each filter
};

WeightShape weight_shape(const ConvShape& s) { return {s.k, s.r * s.s, s.c / s.groups, s.groups}; }

std::vector<float> make_weights(std::int64_t count) {
  return octavo::test::normal_floats(count, 3, 0, 0.4f);  // some are clipped
}

/// Both products of one candidate each, and their packed weights.
struct Products {
  std::vector<std::unique_ptr<ConvS8>> kernels;
  std::vector<std::unique_ptr<Buffer>> packed;
  std::vector<PackTarget> targets;

  Products(const std::vector<const ConvS8Candidate*>& candidates, const ConvShape& shape, int planes) {
    for (const Product product : {Product::forward, Product::grad_input})
      for (const ConvS8Candidate* candidate : candidates) {
        if (!candidate->refuse(shape, product).empty()) continue;
        kernels.push_back(candidate->make(shape, product, candidate->a_view(shape, product), {}));
        packed.push_back(std::make_unique<Buffer>(planes * kernels.back()->packed_stride()));
        std::memset(packed.back()->data(), 0x5b,
                    static_cast<std::size_t>(planes * kernels.back()->packed_stride()));
        targets.push_back({kernels.back().get(), packed.back()->data()});
      }
  }
};

bool operator==(const QuantizeStats& a, const QuantizeStats& b) {
  return a.max_bits == b.max_bits && a.saturated == b.saturated && a.sum_square == b.sum_square;
}

/// Weights that are there or, `written`, come to be there in the pass.
class Source {
 public:
  Source(const std::vector<float>& weights, bool written)
      : weights_(weights), memory_(written ? weights.size() : 0, std::nanf("")) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  const std::vector<float>& values() const { return memory_.empty() ? weights_ : memory_; }
  const WeightWriter* writer() const { return memory_.empty() ? nullptr : &writer_; }

 private:
  const std::vector<float>& weights_;
  std::vector<float> memory_;
  std::function<void(std::int64_t, std::int64_t, std::int64_t, std::int64_t)> write_ =
      [this](std::int64_t, std::int64_t begin, std::int64_t end, std::int64_t) {
        std::copy(weights_.begin() + begin, weights_.begin() + end, memory_.begin() + begin);
      };
  WeightWriter writer_ = write_;
};

/// One way to quantize and pack.
class Packing {
 public:
  Packing(const ConvShape& shape, const Case& how, const std::vector<float>& weights)
      : shape_(weight_shape(shape)), how_(how), weights_(weights) {
    const std::int64_t scales = std::max(shape_.k, shape_.c * shape_.groups);
    for (std::int64_t i = 0; i < scales; ++i)
      inverse_.push_back(static_cast<float>(largest_integer(how.planes)) * (0.5f + 0.1f * (i % 7)));
    for (std::int64_t k = 0; k < shape_.k; ++k)
      factor_.push_back(how.factors ? std::exp2(-0.37f * static_cast<float>(k % 11)) : 1.0f);
  }

  /// `written`: the weights come to be there in the same pass.
  QuantizeStats in_one_pass(Isa isa, Products& to, const Parallel& parallel, bool written) const {
    Source source(weights_, written);
    WeightPass pass = pass_to(to);
    std::vector<std::int8_t> plain(static_cast<std::size_t>(pass.plain_bytes()));
    pass.begin(plain.data());
    QuantizeStats stats;
    for_parts(source.values(), [&](Chain& chain, std::int64_t first) {
      chain.stats = &stats;
      Buffer scratch(chain_scratch_bytes(chain));
      chain.scratch = scratch.data();
      const WeightRun run{pass, chain};
      WeightPass::run(isa, {&run, 1}, first, parallel, source.writer());
    });
    pass.finish(parallel);
    return stats;
  }

  /// This and another way, while weights without groups are read once.
  std::array<QuantizeStats, 2> beside(const Packing& other, Isa isa, std::array<Products*, 2> to,
                                      const Parallel& parallel, bool written) const {
    Source source(weights_, written);
    std::array passes{pass_to(*to[0]), other.pass_to(*to[1])};
    std::vector<std::int8_t> plain(
        static_cast<std::size_t>(passes[0].plain_bytes() + passes[1].plain_bytes()));
    passes[0].begin(plain.data());
    passes[1].begin(plain.data() + passes[0].plain_bytes());
    std::array<QuantizeStats, 2> stats;
    for_parts(source.values(), [&](Chain& first, std::int64_t) {
      other.for_parts(source.values(), [&](Chain& second, std::int64_t) {
        first.stats = &stats[0];
        second.stats = &stats[1];
        Buffer scratch(chain_scratch_bytes(first)), more_scratch(chain_scratch_bytes(second));
        first.scratch = scratch.data();
        second.scratch = more_scratch.data();
        const std::array<WeightRun, 2> runs{{{passes[0], first}, {passes[1], second}}};
        WeightPass::run(isa, runs, 0, parallel, source.writer());
      });
    });
    for (const WeightPass& pass : passes) pass.finish(parallel);
    return stats;
  }

  QuantizeStats one_by_one(Products& to, const Parallel& parallel) const {
    const std::int64_t stride = shape_.k * shape_.row() + 7;
    std::vector<std::int8_t> plain(static_cast<std::size_t>(stride * how_.planes));
    std::vector<float> folded = weights_;
    for (std::int64_t i = 0; i < shape_.k * shape_.row(); ++i)
      folded[static_cast<std::size_t>(i)] *= factor_[static_cast<std::size_t>(i / shape_.row())];
    QuantizeStats stats;
    for_parts(folded, [&](const Chain& part, std::int64_t first) {
      Chain chain = part;
      Quantize quantize = *part.quantize;
      const View view{.layout = Layout::plain, .n = chain.n, .h = 1, .w = chain.w, .c = chain.c};
      void* const target = plain.data() + first * shape_.row();
      quantize.views = {&view, 1};
      quantize.targets = {&target, 1};
      quantize.stride = stride;
      chain.quantize = &quantize;
      chain.stats = &stats;
      Buffer scratch(chain_scratch_bytes(chain));
      chain.scratch = scratch.data();
      run_chain(Isa::ref, chain, parallel);
    });
    for (const PackTarget& target : to.targets)
      target.kernel->pack_planes(plain.data(), stride, how_.planes, target.packed, parallel);
    return stats;
  }

 private:
  WeightPass pass_to(Products& products) const {
    return WeightPass(shape_, how_.planes, products.targets, how_.factors ? factor_.data() : nullptr);
  }

  template <class Body>
  void for_parts(const std::vector<float>& weights, const Body& body) const {
    const std::int64_t parts = how_.granularity == Granularity::channel ? shape_.groups : 1;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = part * (shape_.k / parts);
      Quantize quantize{.granularity = how_.granularity,
                        .inverse_scale = inverse_.data() + part * shape_.c,
                        .planes = how_.planes,
                        .qmax = static_cast<float>(largest_integer(how_.planes)),
                        .rounding = how_.rounding,
                        .key = random_key(1, 2, 3),
                        .first_index = static_cast<std::uint64_t>(first * shape_.row())};
      Chain chain{
          .n = shape_.k / parts, .w = shape_.taps, .c = shape_.c, .x = weights.data() + first * shape_.row()};
      chain.quantize = &quantize;
      body(chain, first);
    }
  }

  WeightShape shape_;
  Case how_;
  const std::vector<float>& weights_;
  std::vector<float> inverse_, factor_;
};

std::vector<ConvShape> more_shapes() {
  std::vector<ConvShape> all = shapes();
  for (const ConvShape& shape : {linear(3, 5000, 70), linear(2, 2100, 33), conv(1, 9, 9, 300, 37, 3, 3, 2, 1),
                                 conv(1, 8, 8, 96, 40, 5, 5, 1, 2), conv(1, 6, 6, 80, 160, 3, 3, 1, 1, 1, 2)})
    all.push_back(shape);
  return all;
}

void compare(const std::vector<const ConvS8Candidate*>& candidates, const ConvShape& shape, const Case& how,
             Isa isa) {
  const WeightShape w = weight_shape(shape);
  const std::vector<float> weights = make_weights(w.k * w.row());
  const Packing packing(shape, how, weights);
  octavo::ThreadPool pool(3);
  const Parallel parallel = [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); };
  Products expected(candidates, shape, how.planes);
  const QuantizeStats expected_stats = packing.one_by_one(expected, parallel);
  for (const bool written : {false, true}) {
    Products found(candidates, shape, how.planes);
    CHECK((packing.in_one_pass(isa, found, parallel, written) == expected_stats));
    for (std::size_t i = 0; i < found.kernels.size(); ++i)
      CHECK(std::memcmp(found.packed[i]->data(), expected.packed[i]->data(),
                        static_cast<std::size_t>(how.planes * found.kernels[i]->packed_stride())) == 0);
  }
}

void compare_two(const std::vector<const ConvS8Candidate*>& candidates, const ConvShape& shape,
                 const std::array<Case, 2>& how, Isa isa, bool finite, bool written) {
  const WeightShape w = weight_shape(shape);
  std::vector<float> weights = make_weights(w.k * w.row());
  if (!finite) {
    weights.front() = std::numeric_limits<float>::infinity();
    weights.back() = std::nanf("");
  }
  const std::array<Packing, 2> packing{Packing(shape, how[0], weights), Packing(shape, how[1], weights)};
  octavo::ThreadPool pool(3);
  const Parallel parallel = [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); };
  Products first(candidates, shape, how[0].planes), second(candidates, shape, how[1].planes);
  const std::array<Products*, 2> found{&first, &second};
  const std::array<QuantizeStats, 2> stats = packing[0].beside(packing[1], isa, found, parallel, written);
  for (std::size_t way = 0; way < 2; ++way) {
    Products expected(candidates, shape, how[way].planes);
    CHECK((packing[way].one_by_one(expected, parallel) == stats[way]));
    for (std::size_t i = 0; i < expected.kernels.size(); ++i)
      CHECK(std::memcmp(found[way]->packed[i]->data(), expected.packed[i]->data(),
                        static_cast<std::size_t>(how[way].planes * expected.kernels[i]->packed_stride())) ==
            0);
  }
}

}  // namespace

TEST_CASE(
    "weights quantized and packed in one pass, where they may be written too, equal the steps one by one, on "
    "every "
    "instruction set") {
  const Case how = GENERATE(
      Case{1, Granularity::tensor, Rounding::nearest}, Case{1, Granularity::channel, Rounding::nearest},
      Case{1, Granularity::sample, Rounding::stochastic}, Case{2, Granularity::channel, Rounding::stochastic},
      Case{3, Granularity::tensor, Rounding::nearest}, Case{1, Granularity::channel, Rounding::nearest, true},
      Case{1, Granularity::sample, Rounding::stochastic, true},
      Case{2, Granularity::tensor, Rounding::nearest, true});
  for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
    if (!isa_supported(candidate.isa)) continue;
    for (const ConvShape& shape : more_shapes()) {
      INFO(candidate.name << " " << describe(shape) << ", planes " << how.planes);
      compare({&candidate}, shape, how, candidate.isa);
    }
  }
}

TEST_CASE("two ways to quantize weights that are read once equal each alone, on every instruction set") {
  const auto [one, two] = GENERATE(std::array{Case{1, Granularity::sample, Rounding::nearest},
                                              Case{1, Granularity::channel, Rounding::nearest, true}},
                                   std::array{Case{1, Granularity::tensor, Rounding::nearest},
                                              Case{1, Granularity::channel, Rounding::nearest}},
                                   std::array{Case{1, Granularity::channel, Rounding::nearest},
                                              Case{1, Granularity::channel, Rounding::nearest, true}},
                                   std::array{Case{1, Granularity::sample, Rounding::nearest, true},
                                              Case{1, Granularity::channel, Rounding::nearest}},
                                   std::array{Case{1, Granularity::sample, Rounding::stochastic},
                                              Case{1, Granularity::channel, Rounding::nearest, true}},
                                   std::array{Case{2, Granularity::sample, Rounding::nearest},
                                              Case{2, Granularity::channel, Rounding::nearest, true}});
  const bool finite = GENERATE(true, false), written = GENERATE(false, true);
  for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
    if (!isa_supported(candidate.isa)) continue;
    for (const ConvShape& shape : more_shapes()) {
      if (shape.groups > 1) continue;
      INFO(candidate.name << " " << describe(shape) << ", planes " << one.planes);
      compare_two({&candidate}, shape, {one, two}, candidate.isa, finite, written);
    }
  }
}

TEST_CASE("one pass serves products that take weights in blocks and as a whole") {
  std::vector<const ConvS8Candidate*> candidates;
  for (const ConvS8Candidate& candidate : conv_s8_candidates())
    if (isa_supported(candidate.isa)) candidates.push_back(&candidate);
  for (const ConvShape& shape : more_shapes())
    compare(candidates, shape, {2, Granularity::channel, Rounding::nearest}, active_isa());
}

TEST_CASE("blocks of weights cover each weight once, by whole taps or parts of one") {
  for (const ConvShape& conv : more_shapes())
    for (const int planes : {1, 2, 3}) {
      const WeightShape shape = weight_shape(conv);
      const std::int64_t in_group = shape.k / shape.groups;
      std::vector<int> covered(static_cast<std::size_t>(shape.k * shape.row()));
      const WeightBlocks blocks(shape, 0, shape.k, planes);
      for (std::int64_t index = 0; index < blocks.size(); ++index) {
        const WeightBlock block = blocks[index];
        CHECK(block.k % in_group % 32 == 0);
        CHECK(block.k / in_group == (block.k_end - 1) / in_group);
        CHECK(block.end - block.begin <= most_block_channels);
        const bool whole = block.begin % shape.c == 0 && block.end % shape.c == 0;
        CHECK((whole ||
               (block.begin / shape.c == (block.end - 1) / shape.c && block.begin % shape.c % 64 == 0)));
        for (std::int64_t k = block.k; k < block.k_end; ++k)
          for (std::int64_t i = block.begin; i < block.end; ++i)
            ++covered[static_cast<std::size_t>(k * shape.row() + i)];
      }
      CHECK(std::all_of(covered.begin(), covered.end(), [](int times) { return times == 1; }));
    }
}

TEST_CASE("maxima by channel of filters times a factor each are those of the products") {
  octavo::ThreadPool pool(3);
  const Parallel parallel = [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); };
  for (const WeightShape shape :
       {WeightShape{1, 1, 1, 1}, WeightShape{5, 9, 3, 1}, WeightShape{40, 1, 531, 1}}) {
    const std::vector<float> weights = make_weights(shape.k * shape.row());
    std::vector<float> factor;
    for (std::int64_t k = 0; k < shape.k; ++k)
      factor.push_back(std::exp2(-0.37f * static_cast<float>(k % 11)));
    std::vector<std::uint32_t> found(static_cast<std::size_t>(shape.c)),
        expected = found, scratch(static_cast<std::size_t>(weight_maxima_words(shape)));
    for (std::int64_t i = 0; i < shape.k * shape.row(); ++i) {
      std::uint32_t& most = expected[static_cast<std::size_t>(i % shape.c)];
      const float v =
          weights[static_cast<std::size_t>(i)] * factor[static_cast<std::size_t>(i / shape.row())];
      most = std::max(most, std::bit_cast<std::uint32_t>(std::fabs(v)));
    }
    weight_maxima(shape, weights.data(), factor.data(), found.data(), scratch.data(), parallel);
    CHECK((found == expected));
  }
}

TEST_CASE("the largest magnitude, a NaN above all, on every instruction set") {
  const Isa before = active_isa();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni}) {
    if (!isa_supported(isa)) continue;
    force_isa(isa);
    for (const std::size_t size : {0, 1, 7, 64, 100, 1000}) {
      std::vector<float> values = make_weights(static_cast<std::int64_t>(size));
      float largest = 0;
      for (const float v : values) largest = std::max(largest, std::fabs(v));
      const auto bits = [&] { return largest_magnitude(values.data(), static_cast<std::int64_t>(size)); };
      CHECK(bits() == std::bit_cast<std::uint32_t>(largest));
      for (const float odd : {-inf, -nan})
        for (std::size_t at = 0; at < size; at += 31) {
          const float kept = std::exchange(values[at], odd);
          CHECK(bits() == (std::bit_cast<std::uint32_t>(odd) & 0x7FFFFFFFu));
          values[at] = kept;
        }
    }
  }
  force_isa(before);
}
