// The chains of the CUDA backend on a device against kernels/ref: equal bits, integers, counts and sums.
#include "cuda/chain.h"
#include "support/cuda_chain_runs.h"
#include "support/cuda_device_memory.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;
using enum octavo::kernels::StepKind;

namespace {

void check(const ChainCase& c) {
  INFO(describe(c));
  DeviceMemory memory;
  CudaChain<DeviceMemory> chain(c, memory);
  cu::run_chain(chain.pass(), nullptr);
  cu::check(cudaDeviceSynchronize(), "test: run_chain");
  check_equal(chain.outcome(), ReferenceChain(c).run());
}

}  // namespace

TEST_CASE("chains give the reference's values, copies, counts and sums") {
  std::mt19937 generator(1);
  for (int i = 0; i < 600; ++i) {
    ChainCase c = draw_chain(generator, i % 10 == 0 ? 300'000 : 20'000);
    c.hostile = i % 7 == 0 && !c.has(look);
    check(c);
  }
}

TEST_CASE("every step of a chain alone") {
  for (int kind = 0; kind < 12; ++kind)
    for (const cu::ImageLayout& layout : {cu::ImageLayout{1, 1, 1, 1}, cu::ImageLayout{33, 1, 1, 10},
                                          cu::ImageLayout{5, 2, 2, 36, 3}, cu::ImageLayout{16, 14, 14, 280}})
      for (FloatType type : {FloatType::f32, FloatType::bf16}) {
        ChainCase c{.layout = layout, .kinds = {static_cast<StepKind>(kind), store}};
        c.x_type = c.other_type = c.out_type = type;
        c.histogram = c.channels = c.reach = c.has(look);
        c.want_max = true, c.max_granularity = static_cast<Granularity>(kind % 3);
        c.pixel = c.batch = true;
        check(c);
      }
}

TEST_CASE("sums of channels are added in the order of the CPU", OCTAVO_LARGE) {
  const std::vector<StepKind> chains[] = {
      {sums}, {keep_bits, sums, scale_shift}, {look, scale_shift, sums, store}};
  for (const cu::ImageLayout& layout :
       {cu::ImageLayout{2, 33, 31, 16}, cu::ImageLayout{1, 2, 300, 24}, cu::ImageLayout{1, 1, 3, 5000},
        cu::ImageLayout{9, 60, 60, 3}, cu::ImageLayout{64, 40, 33, 64}, cu::ImageLayout{33, 3, 3, 272},
        cu::ImageLayout{200, 30, 30, 1}, cu::ImageLayout{130, 7, 7, 2048}})
    for (const std::vector<StepKind>& kinds : chains)
      for (FloatType type : {FloatType::f32, FloatType::bf16}) {
        ChainCase c{.layout = layout, .kinds = kinds};
        c.x_type = c.other_type = type;
        c.want_max = true, c.max_granularity = Granularity::sample;
        c.histogram = c.reach = c.has(look);
        check(c);
        c.pixel = c.batch = c.stochastic = true, c.planes = 3;
        check(c);
      }
}

TEST_CASE("large chains, whose blocks take several pixels") {
  for (const cu::ImageLayout& layout : {cu::ImageLayout{64, 56, 56, 64}, cu::ImageLayout{200, 28, 28, 96}}) {
    ChainCase c{.layout = layout, .kinds = {scale_shift, add, store_bits, relu, look, store}};
    c.histogram = c.want_max = c.pixel = c.stochastic = true, c.max_granularity = Granularity::channel;
    check(c);
    c.batch = true, c.max_granularity = Granularity::sample, c.out_type = FloatType::bf16;
    check(c);
  }
}

TEST_CASE("a captured chain runs again with the scales and random numbers of another step") {
  ChainCase c{.layout = {17, 9, 9, 40}, .kinds = {drop, store}};
  c.pixel = c.batch = c.stochastic = true;
  DeviceMemory memory;
  CudaChain<DeviceMemory> chain(c, memory);
  cudaStream_t stream;
  cu::check(cudaStreamCreate(&stream), "test: stream");
  cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "test: capture");
  cu::run_chain(chain.pass(), stream);
  cudaGraph_t graph;
  cudaGraphExec_t captured;
  cu::check(cudaStreamEndCapture(stream, &graph), "test: capture");
  cu::check(cudaGraphInstantiate(&captured, graph, 0), "test: graph");
  for (c.step = 1; c.step <= 3; ++c.step) {
    chain.begin_step(c);
    cu::check(cudaGraphLaunch(captured, stream), "test: graph");
    cu::check(cudaStreamSynchronize(stream), "test: graph");
    check_equal(chain.outcome(), ReferenceChain(c).run());
  }
  cudaGraphExecDestroy(captured), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
}

TEST_CASE("draws of all streams come from one counter") {
  const cu::StepCounter counter{3, 17, 2};
  std::vector<cu::DrawStream> streams;
  for (unsigned i = 0; i < 300; ++i) streams.push_back({i * 7919, i});
  DeviceMemory memory;
  cu::Draws* draws = memory.put(std::vector<cu::Draws>(streams.size()));
  cu::set_draws(memory.put(std::vector{counter}), memory.put(streams), 300, draws, nullptr);
  cu::check(cudaDeviceSynchronize(), "test: set_draws");
  const auto found = memory.get(draws, streams.size());
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const cu::Draws expected = cu::draws_of(counter, streams[i]);
    CHECK((found[i].key.a == expected.key.a && found[i].key.b == expected.key.b));
    CHECK(found[i].first_index == expected.first_index);
  }
}
