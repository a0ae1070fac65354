// The sources of the CUDA chain kernels, run on the host by fibers, against the chains of kernels/ref: every
// value, bit, integer, count and sum is equal.
#include "support/cuda_fibers.h"
// Before the kernels, whose instructions it holds.
#include "cuda/chain_kernels.cuh"
#include "support/cuda_chain_runs.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

template <class Body>
void launch(std::int64_t blocks, unsigned seed, const Body& body) {
  FiberBlock block(cu::chain_threads, seed, false);
  gridDim = {static_cast<unsigned>(blocks)};
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) block.run(body);
}

/// As run_chain().
void run_kernels(const cu::ChainPass& pass, unsigned seed) {
  cu::check_pass(pass, "test: ");
  const cu::ImageLayout& l = pass.layout;
  for (int i = 0; i < pass.step_count; ++i)
    if (pass.steps[i].kind == StepKind::store_bits)
      std::memset(pass.steps[i].bits_out, 0, static_cast<std::size_t>(cu::shared_bit_words(l) * 4));
  if (!cu::has_step(pass, StepKind::sums)) {
    return launch(cu::chain_blocks(pass), seed, [&] {
      pass.batch_copy != nullptr ? cu::chain_both_kernel(pass) : cu::chain_pixels_kernel(pass);
    });
  }
  const cu::SumsWalk walk = cu::sums_walk(l);
  launch(cu::chain_blocks(pass), seed, [&] {
    pass.quantizes() ? cu::chain_sums_kernel<true>(pass, walk) : cu::chain_sums_kernel<false>(pass, walk);
  });
  launch(cu::ceil_div(2 * l.c, cu::chain_threads), seed, [&] {
    cu::join_sums_kernel(static_cast<const double*>(pass.scratch), walk.chunks, l.c, pass.sum_v, pass.sum_vx);
  });
}

void check(const ChainCase& c) {
  INFO(describe(c));
  const ChainOutcome expected = ReferenceChain(c).run();
  HostMemory memory;
  CudaChain<HostMemory> chain(c, memory);
  run_kernels(chain.pass(), c.seed);
  check_equal(chain.outcome(), expected);
}

}  // namespace

TEST_CASE("cuda: every step of a chain alone, on every shape of a run of channels") {
  for (int kind = 0; kind < 12; ++kind)
    for (const cu::ImageLayout& layout :
         {cu::ImageLayout{1, 1, 1, 1}, cu::ImageLayout{33, 1, 1, 10}, cu::ImageLayout{3, 5, 3, 3},
          cu::ImageLayout{2, 4, 3, 16}, cu::ImageLayout{5, 2, 2, 36, 3}, cu::ImageLayout{2, 3, 3, 280}})
      for (FloatType type : {FloatType::f32, FloatType::bf16}) {
        ChainCase c{.layout = layout, .kinds = {static_cast<StepKind>(kind)}, .seed = 7U + layout.c};
        c.x_type = c.other_type = c.out_type = type;
        c.histogram = c.channels = c.reach = kind == static_cast<int>(StepKind::look);
        c.want_max = true, c.max_granularity = static_cast<Granularity>(kind % 3);
        c.pixel = kind % 2 == 0;
        check(c);
        c.kinds.push_back(StepKind::store);
        c.batch = true, c.hostile = !c.histogram;
        check(c);
      }
}

TEST_CASE("cuda: the chain kernels' sources give the reference's values, copies and counts") {
  std::mt19937 generator(1);
  for (int i = 0; i < 400; ++i) check(draw_chain(generator, 9000));
}

TEST_CASE("cuda: the sources add the sums of channels in the order of the CPU") {
  using enum StepKind;
  const std::vector<StepKind> chains[] = {
      {sums}, {keep_bits, sums, scale_shift}, {look, scale_shift, sums, store}};
  for (const cu::ImageLayout& layout :
       {cu::ImageLayout{2, 33, 31, 16}, cu::ImageLayout{1, 13, 11, 96}, cu::ImageLayout{1, 1, 37, 650},
        cu::ImageLayout{1, 2, 300, 24}, cu::ImageLayout{1, 6, 100, 100}, cu::ImageLayout{1, 1, 3, 5000},
        cu::ImageLayout{1, 1, 1030, 13}, cu::ImageLayout{33, 7, 5, 40}, cu::ImageLayout{9, 60, 60, 3},
        cu::ImageLayout{7, 40, 33, 64}, cu::ImageLayout{3, 2, 900, 30}, cu::ImageLayout{33, 3, 3, 272},
        cu::ImageLayout{200, 30, 30, 1}, cu::ImageLayout{130, 1, 1, 2048}})
    for (const std::vector<StepKind>& kinds : chains) {
      ChainCase c{.layout = layout, .kinds = kinds, .seed = 3U + static_cast<unsigned>(layout.c)};
      c.x_type = c.other_type = kinds.size() == 1 ? FloatType::f32 : FloatType::bf16;
      c.want_max = true, c.max_granularity = Granularity::sample;
      c.histogram = c.reach = c.has(look);
      check(c);
      c.pixel = c.batch = c.stochastic = true, c.planes = 3;
      if (c.elements() < 100'000) check(c);
    }
}

TEST_CASE("cuda: sums of a bin may be longer than the counters of a block") {
  using enum StepKind;
  ChainCase c{.layout = {1, 200, 200, 1}, .kinds = {scale_shift, look, sums}, .has_x = false};
  c.histogram = true;
  while (!StepChoice(c, 0).b) ++c.seed;
  const ChainOutcome expected = ReferenceChain(c).run();
  REQUIRE(*std::max_element(expected.histogram.sums.begin(), expected.histogram.sums.end()) >> 32 > 0);
  check(c);
}

TEST_CASE("cuda: scales and random numbers of a step are read when it runs") {
  ChainCase c{.layout = {5, 3, 3, 20}, .kinds = {StepKind::drop, StepKind::store}};
  c.pixel = c.batch = c.stochastic = true;
  HostMemory memory;
  CudaChain<HostMemory> chain(c, memory);
  const cu::ChainPass pass = chain.pass();
  for (c.step = 1; c.step <= 2; ++c.step) {
    ChainCase next = c;
    chain.begin_step(next);
    run_kernels(pass, c.step);
    check_equal(chain.outcome(), ReferenceChain(next).run());
  }
}

TEST_CASE("cuda: blocks of several pixels a thread") {
  using enum StepKind;
  ChainCase c{.layout = {2, 512, 512, 1}, .kinds = {look, scale_shift, store_bits, relu}};
  c.histogram = c.reach = c.want_max = c.pixel = true, c.max_granularity = Granularity::sample;
  REQUIRE(cu::pixel_walk(c.layout).steps > 1);
  check(c);
  c.layout = {2, 46, 45, 3}, c.batch = true;
  REQUIRE(cu::batch_walk(c.layout).pixels > 1);
  check(c);
}
