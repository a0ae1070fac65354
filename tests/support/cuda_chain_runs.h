// A drawn chain run by kernels/ref and by the CUDA backend.
#pragma once

#include "support/cuda_chains.h"

namespace octavo::kernels::test {

constexpr std::size_t all_bins = cu::magnitude_bins;

/// The chain of the CPU, whose results it holds.
class ReferenceChain {
 public:
  explicit ReferenceChain(const ChainCase& c) : case_(c), operands_(c) {
    for (std::size_t i = 0; i < c.kinds.size(); ++i) add_step(i);
    if (c.histogram || c.channels)
      out_.channel_counts.resize(c.channels ? all_bins * c.count_of(Granularity::channel) : 0);
    if (c.reach) out_.reach.resize(c.count_of(Granularity::channel));
    if (c.want_max) out_.max_bits.resize(c.count_of(c.max_granularity));
    if (c.has(StepKind::sums)) out_.sum_v.resize(c.count_of(Granularity::channel)), out_.sum_vx = out_.sum_v;
  }

  ChainOutcome run() {
    const cu::ImageLayout& l = case_.layout;
    const View view{
        .n = l.n, .h = l.h, .w = l.w, .c = l.c, .zero = std::uint8_t(case_.is_unsigned ? 0 : 128)};
    Buffer target(planes_bytes(view, case_.planes));
    void* const targets[] = {target.data()};
    const Quantize quantize{.granularity = case_.granularity,
                            .inverse_scale = operands_.inverse.data(),
                            .planes = case_.planes,
                            .is_unsigned = case_.is_unsigned,
                            .grid = case_.grid,
                            .qmax = case_.qmax(),
                            .rounding = case_.stochastic ? Rounding::stochastic : Rounding::nearest,
                            .key = operands_.rounding.key,
                            .first_index = operands_.rounding.first_index,
                            .views = {&view, 1},
                            .targets = targets};
    Chain chain{.n = l.n, .h = l.h, .w = l.w, .c = l.c};
    if (case_.has_x) chain.x = {operands_.x.data(), case_.x_type};
    chain.steps = steps_;
    chain.quantize = case_.quantizes() ? &quantize : nullptr;
    chain.stats = &out_.stats;
    chain.want_max = case_.want_max, chain.max_granularity = case_.max_granularity;
    chain.max_bits = out_.max_bits.data();
    chain.sum_v = out_.sum_v.data(), chain.sum_vx = out_.sum_vx.data();
    Buffer scratch(chain_scratch_bytes(chain));
    chain.scratch = scratch.data();
    run_chain(Isa::ref, chain, run_in_order);
    if (case_.quantizes()) take_copies(view, target);
    if (case_.histogram) counter_.flush(out_.histogram);
    for (std::vector<std::uint8_t>& stored : out_.stored)
      if (case_.in_place) stored = operands_.x;
    join_nans(case_, out_);
    return std::move(out_);
  }

 private:
  void add_step(std::size_t i) {
    const ChainCase& c = case_;
    const StepChoice choice(c, i);
    Step step{.kind = c.kinds[i], .lo = choice.lo, .hi = choice.hi};
    step.a = choice.a ? operands_.a.data() : nullptr, step.b = choice.b ? operands_.b.data() : nullptr;
    step.d = choice.d ? operands_.d.data() : nullptr;
    if (choice.x) step.x = {operands_.other.data(), c.other_type};
    step.bits = operands_.bits.data();
    step.key = operands_.drops.key,
    step.first_index = static_cast<std::uint32_t>(operands_.drops.first_index);
    step.look = &look_;
    if (step.kind == StepKind::store) {
      out_.stored.emplace_back(c.elements() * static_cast<std::size_t>(float_bytes(c.out_type)));
      step.out = {(c.in_place ? operands_.x : out_.stored.back()).data(), c.out_type};
    }
    if (step.kind == StepKind::store_bits) {
      out_.bits.emplace_back((c.elements() + 7) / 8);
      step.bits_out = out_.bits.back().data();
    }
    steps_.push_back(step);
  }

  void look(std::int64_t sample, std::int64_t pixels, const float* v) {
    const auto c = static_cast<std::size_t>(case_.layout.c), size = static_cast<std::size_t>(pixels) * c;
    if (case_.histogram) counter_.add(v, static_cast<std::int64_t>(size));
    for (std::size_t i = 0; case_.channels && i < size; ++i)
      ++out_.channel_counts[i % c * all_bins + ((std::bit_cast<std::uint32_t>(v[i]) & 0x7FFFFFFFU) >> 19)];
    if (!case_.reach) return;
    const bool by_sample = case_.granularity == Granularity::sample;
    extend_reach(v, pixels,
                 operands_.inverse[by_sample ? static_cast<std::size_t>(sample) : 0] / case_.qmax(),
                 out_.reach);
  }

  void take_copies(const View& view, Buffer& target) {
    std::vector<Bytes> planes;
    for (int plane = 0; plane < case_.planes; ++plane) {
      const auto* first = static_cast<const std::int8_t*>(target.data()) + plane * plane_stride(view);
      planes.emplace_back(first, first + case_.elements());
    }
    if (case_.pixel) out_.pixel = device_image(case_.layout, planes, false);
    if (case_.batch) out_.batch = device_image(case_.layout, planes, true);
  }

  const ChainCase& case_;
  ChainOperands operands_;
  ChainOutcome out_;
  std::vector<Step> steps_;
  MagnitudeCounter counter_;
  struct Looker {
    ReferenceChain* chain;
    void operator()(std::int64_t sample, std::int64_t pixels, const float* v) const {
      chain->look(sample, pixels, v);
    }
  };
  const Looker looker_{this};
  const LookAt look_{looker_};
};

/// The same on the device, or on its sources.
template <class Memory>
class CudaChain {
 public:
  CudaChain(const ChainCase& c, Memory& memory) : case_(c), memory_(memory), operands_(c) {
    pass_.layout = c.layout;
    if (c.has_x) pass_.x = {memory.put(operands_.x), c.x_type};
    other_ = memory.put(operands_.other);
    for (std::size_t i = 0; i < c.kinds.size(); ++i) add_step(i);
    add_tail();
    if (c.histogram) {
      pass_.look.counts = memory.put(std::vector<unsigned long long>(all_bins));
      pass_.look.sums = memory.put(std::vector<unsigned long long>(all_bins));
    }
    const std::size_t channels = c.count_of(Granularity::channel);
    if (c.channels) pass_.look.channel_counts = memory.put(std::vector<unsigned>(all_bins * channels));
    if (c.reach) pass_.look.reach = memory.put(std::vector<unsigned>(channels));
    pass_.look.inverse_scale = memory.put(operands_.inverse);
    pass_.look.inverse_by_sample = c.granularity == Granularity::sample;
    pass_.look.qmax = c.qmax();
    if (!c.has(StepKind::sums)) return;
    pass_.sum_v = memory.put(std::vector<double>(channels, -1));
    pass_.sum_vx = memory.put(std::vector<double>(channels, -1));
    pass_.scratch =
        memory.put(std::vector<char>(static_cast<std::size_t>(cu::chain_scratch_bytes(pass_)), 0x5b));
  }

  const cu::ChainPass& pass() const { return pass_; }

  /// What changes from step to step, in the memory that the pass knows.
  void begin_step(const ChainCase& next) {
    const ChainOperands operands(next);
    memory_.set(pass_.scales.inverse, operands.inverse);
    memory_.set(pass_.draws, std::vector<cu::Draws>{operands.rounding});
    for (int i = 0; i < pass_.step_count; ++i)
      memory_.set(pass_.steps[i].draws, std::vector<cu::Draws>{operands.drops});
    memory_.set(pass_.counts, std::vector<cu::QuantizeCounts>(1));
  }

  ChainOutcome outcome() {
    ChainOutcome out;
    const ChainCase& c = case_;
    const cu::ImageLayout& l = c.layout;
    for (std::size_t i = 0; i < c.kinds.size(); ++i) {
      const cu::ChainStep& step = pass_.steps[i];
      const std::size_t bytes = c.elements() * static_cast<std::size_t>(float_bytes(c.out_type));
      if (step.kind == StepKind::store)
        out.stored.push_back(memory_.get(static_cast<const std::uint8_t*>(step.out.data), bytes));
      if (step.kind == StepKind::store_bits)
        out.bits.push_back(memory_.get(step.bits_out, (c.elements() + 7) / 8));
    }
    if (c.pixel) out.pixel = memory_.get(pass_.pixel_copy, copy(l.pixel_copy_bytes()).size());
    if (c.batch) out.batch = memory_.get(pass_.batch_copy, copy(l.batch_copy_bytes()).size());
    if (c.quantizes()) out.stats = stats_of(memory_.get(pass_.counts, 1)[0]);
    if (c.want_max) out.max_bits = memory_.get(pass_.max_bits, c.count_of(c.max_granularity));
    take_statistics(out);
    join_nans(c, out);
    return out;
  }

 private:
  void add_step(std::size_t i) {
    const ChainCase& c = case_;
    const StepChoice choice(c, i);
    cu::ChainStep& step = pass_.steps[pass_.step_count++];
    step = {.kind = c.kinds[i], .lo = choice.lo, .hi = choice.hi};
    step.a = choice.a ? memory_.put(operands_.a) : nullptr,
    step.b = choice.b ? memory_.put(operands_.b) : nullptr;
    step.d = choice.d ? memory_.put(operands_.d) : nullptr;
    if (choice.x) step.x = {other_, c.other_type};
    step.bits = memory_.put(operands_.bits);
    step.draws = memory_.put(std::vector<cu::Draws>{operands_.drops});
    const std::size_t bytes = c.elements() * static_cast<std::size_t>(float_bytes(c.out_type));
    if (step.kind == StepKind::store) step.out = {memory_.put(std::vector<char>(bytes, 0x5b)), c.out_type};
    if (step.kind == StepKind::store && c.in_place) step.out.data = const_cast<void*>(pass_.x.data);
    if (step.kind == StepKind::store_bits)
      step.bits_out = memory_.put(std::vector<std::uint8_t>((c.elements() + 31) / 32 * 4, 0x5b));
  }

  void add_tail() {
    const ChainCase& c = case_;
    pass_.max_granularity = c.max_granularity;
    if (c.want_max) pass_.max_bits = memory_.put(std::vector<std::uint32_t>(c.count_of(c.max_granularity)));
    if (!c.quantizes()) return;
    pass_.rule = {.lowest = c.is_unsigned ? 0.0F : -c.qmax(),
                  .qmax = c.qmax(),
                  .planes = c.planes,
                  .stochastic = c.stochastic,
                  .grid = c.grid};
    pass_.scales = {memory_.put(operands_.inverse), c.granularity};
    pass_.draws = memory_.put(std::vector<cu::Draws>{operands_.rounding});
    if (c.pixel) pass_.pixel_copy = memory_.put(copy(c.layout.pixel_copy_bytes()));
    if (c.batch) pass_.batch_copy = memory_.put(copy(c.layout.batch_copy_bytes()));
    pass_.counts = memory_.put(std::vector<cu::QuantizeCounts>(1));
  }

  Bytes copy(std::int64_t bytes) const { return unwritten_planes(bytes, case_.planes); }

  static QuantizeStats stats_of(const cu::QuantizeCounts& counts) {
    return {counts.max_bits, static_cast<std::int64_t>(counts.saturated),
            Int128{counts.square_low} + (Int128{counts.square_high} << 32)};
  }

  void take_statistics(ChainOutcome& out) {
    const ChainCase& c = case_;
    const std::size_t channels = c.count_of(Granularity::channel);
    if (c.has(StepKind::sums)) {
      out.sum_v = memory_.get(pass_.sum_v, channels);
      out.sum_vx = memory_.get(pass_.sum_vx, channels);
    }
    if (c.histogram)
      for (const auto& [from, to] : {std::pair{pass_.look.counts, &out.histogram.counts},
                                     std::pair{pass_.look.sums, &out.histogram.sums}}) {
        const auto values = memory_.get(from, all_bins);
        to->assign(values.begin(), values.end());
      }
    if (c.channels) out.channel_counts = memory_.get(pass_.look.channel_counts, all_bins * channels);
    if (!c.reach) return;
    for (const unsigned bits : memory_.get(pass_.look.reach, channels))
      out.reach.push_back(std::bit_cast<float>(bits));
  }

  const ChainCase& case_;
  Memory& memory_;
  const ChainOperands operands_;
  cu::ChainPass pass_;
  std::uint8_t* other_ = nullptr;
};

/// Sizes up to `most` elements and any chain that the backend takes.
inline ChainCase draw_chain(std::mt19937& generator, std::size_t most) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  const auto type = [&] { return draw(0, 1) == 0 ? FloatType::f32 : FloatType::bf16; };
  constexpr int channels[] = {1, 2, 3, 7, 8, 10, 16, 17, 24, 33, 40, 64, 70, 130, 272};
  ChainCase c;
  do {
    c.layout = {draw(1, 33), draw(1, 7), draw(1, 7), channels[draw(0, 14)], 1};
    if (draw(0, 2) == 0) c.layout.h = c.layout.w = 1;
  } while (c.elements() > most);
  if (draw(0, 3) == 0 && c.layout.c % 2 == 0) c.layout.groups = 2;
  c.seed = generator();
  c.x_type = type(), c.other_type = type(), c.out_type = type();
  c.has_x = draw(0, 15) > 0;
  c.in_place = c.has_x && draw(0, 7) == 0;
  if (c.in_place) c.out_type = c.x_type;
  c.pixel = draw(0, 1) == 0, c.batch = draw(0, 1) == 0;
  for (int count = draw(0, 7); count > 0; --count) {
    const auto kind = static_cast<StepKind>(draw(0, 11));
    const bool once = kind == StepKind::look || kind == StepKind::sums;
    if (!once || !c.has(kind)) c.kinds.push_back(kind);
  }
  if (c.has(StepKind::look))
    c.histogram = draw(0, 1) == 0, c.channels = draw(0, 1) == 0, c.reach = draw(0, 1) == 0;
  if (c.has(StepKind::look) && !c.channels && !c.reach) c.histogram = true;
  c.planes = draw(1, 3), c.stochastic = draw(0, 1) == 0;
  c.is_unsigned = c.planes == 1 && draw(0, 2) == 0;
  if (c.planes > 1) c.grid = static_cast<Grid>(draw(0, 2));
  c.granularity = static_cast<Granularity>(draw(0, 2));
  c.want_max = draw(0, 1) == 0, c.max_granularity = static_cast<Granularity>(draw(0, 2));
  return c;
}

}  // namespace octavo::kernels::test
