// The pass over weights: blocks, their integers, and who packs them.
#include "weight_pass.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "chain_plan.h"
#include "clones.h"
#include "fetch.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t block_filters = 32;  // columns of a panel: its lines are written whole
constexpr std::int64_t block_bytes = block_filters * most_block_channels;
static_assert(most_block_channels <= chain_block_floats);
/// Of the integers that wait for being packed, on the stack.
constexpr std::int64_t stretch_bytes = 512 << 10;
constexpr std::int64_t most_stretch_blocks = 16;
static_assert((block_bytes + block_filters * 192 + chain_slack) * most_planes * most_weight_runs <=
              stretch_bytes);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// Nearly equal parts of a filter, each whole taps or a part of one: most weights of a part. A tap is cut
/// between blocks of fetch_block where it has whole ones, as passes over all weights in order are.
std::int64_t part_of_filter(const WeightShape& shape, std::int64_t most) {
  if (shape.row() <= most) return shape.row();
  if (shape.c > most) {
    const std::int64_t unit = shape.c % fetch_block == 0 ? fetch_block : 64;
    return std::min(round_up(ceil_div(shape.c, ceil_div(shape.c, most)), unit), most / unit * unit);
  }
  return ceil_div(shape.taps, ceil_div(shape.taps, most / shape.c)) * shape.c;
}

/// An odd number of lines: rows of a block fall into different sets of the cache.
std::int64_t block_pitch(const WeightBlock& block) { return round_up(block.end - block.begin, 128) + 64; }

std::int64_t plane_bytes(const WeightBlock& block) {
  return (block.k_end - block.k) * block_pitch(block) + chain_slack;
}

/// Blocks of the same filters that follow each other, as many as have integers that stay in the cache, but
/// few enough for all threads to work.
class Stretches {
 public:
  Stretches(const WeightBlocks& blocks, int planes, std::int64_t runs) : blocks_(blocks) {
    const std::int64_t bytes = planes * runs * plane_bytes(blocks[0]);
    const std::int64_t fit = std::clamp<std::int64_t>(stretch_bytes / bytes, 1, most_stretch_blocks);
    const std::int64_t wanted = ceil_div(most_weight_chunks, blocks.filter_blocks());
    const std::int64_t stretches =
        std::min(blocks.pieces(), std::max(ceil_div(blocks.pieces(), fit), wanted));
    pieces_ = ceil_div(blocks.pieces(), stretches);
  }
  std::int64_t size() const { return ceil_div(blocks_.pieces(), pieces_) * blocks_.filter_blocks(); }
  /// Filters count fastest.
  std::span<const WeightBlock> blocks(std::int64_t index, std::span<WeightBlock> room) const {
    const std::int64_t filters = index % blocks_.filter_blocks(),
                       first = index / blocks_.filter_blocks() * pieces_;
    std::size_t count = 0;
    for (std::int64_t piece = first; piece < std::min(first + pieces_, blocks_.pieces()); ++piece)
      room[count++] = blocks_[piece * blocks_.filter_blocks() + filters];
    return room.first(count);
  }

 private:
  const WeightBlocks& blocks_;
  std::int64_t pieces_;
};

using QuantizeRun = void (*)(const ChainPlan&, std::int64_t, const ChainTile&, const ChainWork&,
                             std::int8_t*);
QuantizeRun quantize_run(Isa isa) {
  return isa == Isa::avx512vnni ? quantize_run_avx512vnni
         : isa == Isa::avx2     ? quantize_run_avx2
                                : quantize_run_ref;
}

/// What QuantizeTwice takes.
bool quantizes_twice(const ChainPlan& plain, const ChainPlan& product) {
  const auto is_nearest = [](const Quantize& q) {
    return q.rounding != Rounding::stochastic && q.planes == 1;
  };
  return is_nearest(*plain.quantize) && is_nearest(*product.quantize) && plain.x.type == FloatType::f32 &&
         plain.quantize->granularity != Granularity::channel &&
         product.quantize->granularity == Granularity::channel && plain.c % chain_strip == 0 &&
         product.period % chain_strip == 0;
}

using QuantizeTwiceRun = void (*)(const QuantizeTwice&, const ChainTile&);
/// Of two runs; null: one run after the other.
QuantizeTwiceRun quantize_twice_run(Isa isa, std::span<const ChainPlan> plans) {
  if (isa == Isa::ref || !quantizes_twice(plans[0], plans[1])) return nullptr;
  return isa == Isa::avx512vnni ? quantize_twice_avx512vnni : quantize_twice_avx2;
}

/// out = weights factor.
OCTAVO_CLONES void scale_run(const float* __restrict weights, float factor, std::int64_t count,
                             float* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = weights[i] * factor;
}

constexpr std::int64_t most_maxima_chunks = 16;
std::int64_t maxima_chunks(const WeightShape& shape) { return std::min(shape.k, most_maxima_chunks); }

}  // namespace

WeightBlocks::WeightBlocks(const WeightShape& shape, std::int64_t first, std::int64_t count, int planes)
    : shape_(shape),
      first_(first),
      in_group_(shape.k / shape.groups),
      blocks_in_group_(ceil_div(in_group_, block_filters)),
      filter_blocks_(count / in_group_ * blocks_in_group_),
      part_(part_of_filter(shape, block_bytes / block_filters / planes / 64 * 64)),
      part_range_(part_ < shape.c ? shape.c : shape.row()),
      pieces_in_range_(ceil_div(part_range_, part_)),
      pieces_(shape.row() / part_range_ * pieces_in_range_) {}

WeightBlock WeightBlocks::operator[](std::int64_t index) const {
  const std::int64_t piece = index / filter_blocks_, filters = index % filter_blocks_;
  const std::int64_t range = piece / pieces_in_range_ * part_range_,
                     begin = range + piece % pieces_in_range_ * part_;
  const std::int64_t group = first_ + filters / blocks_in_group_ * in_group_,
                     k = group + filters % blocks_in_group_ * block_filters;
  return {k, std::min(k + block_filters, group + in_group_), begin,
          std::min(begin + part_, range + part_range_)};
}

bool WeightBlocks::whole(std::int64_t unit) const {
  return shape_.row() % unit == 0 && part_range_ % unit == 0 && part_ % unit == 0;
}

WeightPass::WeightPass(const WeightShape& shape, int planes, std::span<const PackTarget> targets,
                       const float* factor)
    : shape_(shape), planes_(planes), targets_(targets), factor_(factor) {
  for (const PackTarget& target : targets) whole_ |= !target.kernel->packs_blocks();
}

void WeightPass::begin(std::int8_t* plain) {
  plain_ = plain;
  for (const PackTarget& target : targets_)
    for (int plane = 0; plane < planes_ && target.kernel->packs_blocks(); ++plane)
      target.kernel->begin_pack(static_cast<std::uint8_t*>(target.packed) +
                                plane * target.kernel->packed_stride());
}

/// A run's part of a chunk: its plan, and the memory of a stretch.
struct WeightPass::Share {
  const WeightPass* pass;
  const ChainPlan* plan;
  QuantizeRun quantize;
  QuantizeTwiceRun twice;     // of the first of two runs, for both; or null
  std::int64_t chunk, first;  // filter of W that the plan's first is
  bool fetches;               // of several runs the first brings the weights
  ChainWork work;
  std::int8_t* integers;
};

/// Weights of one filter.
ChainTile WeightPass::run_of(const Share& share, const WeightBlock& block, std::int64_t k) const {
  ChainTile run{};
  run.sample = k - share.first;
  run.first = run.sample * shape_.row() + block.begin;
  run.count = block.end - block.begin;
  return run;
}

void WeightPass::quantize(const Share& share, const WeightBlock& block, std::int64_t k, std::int64_t ahead,
                          std::int8_t* to) const {
  ChainPlan plan = *share.plan;
  plan.integer_pitch = plane_bytes(block);
  ChainWork work = share.work;
  const ChainTile run = run_of(share, block, k);
  if (factor_ != nullptr) {  // the products lie in `work`
    const float* from = plan.x.as<float>() + run.first;
    for (std::int64_t i = 0; share.fetches && i < run.count; i += 16) __builtin_prefetch(from + ahead + i);
    scale_run(from, factor_[k], run.count, work.values);
    plan.x = {};
  } else if (share.fetches) {
    work.ahead = ahead;
  }
  share.quantize(plan, share.chunk, run, work, to);
}

/// Both runs at once.
void WeightPass::quantize_twice(const Share& one, const Share& two, const WeightBlock& block, std::int64_t k,
                                std::int64_t ahead, std::int64_t to) {
  const float* const factor = two.pass->factor_;
  one.twice({*one.plan, *two.plan, one.chunk, factor != nullptr ? factor[k] : 1, ahead, one.integers + to,
             two.integers + to},
            one.pass->run_of(one, block, k));
}

/// Filter by filter through all blocks of the stretch, as the weights lie in memory; behind their end those
/// of the next filter come.
void WeightPass::run_stretch(std::span<const Share> shares, std::span<const WeightBlock> blocks,
                             const WeightWriter* writer) {
  const std::int64_t row = shares[0].pass->shape_.row(), planes = shares[0].pass->planes_;
  const std::int64_t begin = blocks.front().begin, end = blocks.back().end;
  for (std::int64_t k = blocks[0].k; k < blocks[0].k_end; ++k) {
    std::int64_t at = 0;
    for (const WeightBlock& block : blocks) {
      const std::int64_t ahead =
          fetch_distance + (block.begin + fetch_distance < end ? 0 : row - (end - begin));
      if (writer != nullptr) (*writer)(shares[0].chunk, k * row + block.begin, k * row + block.end, ahead);
      const std::int64_t to = at + (k - block.k) * block_pitch(block);
      if (shares[0].twice != nullptr)
        quantize_twice(shares[0], shares[1], block, k, ahead, to);
      else
        for (const Share& share : shares) share.pass->quantize(share, block, k, ahead, share.integers + to);
      at += planes * plane_bytes(block);
    }
  }
  std::int64_t at = 0;
  for (const WeightBlock& block : blocks) {
    for (const Share& share : shares)
      share.pass->pack_block(block, share.integers + at, block_pitch(block), plane_bytes(block));
    at += planes * plane_bytes(block);
  }
}

void WeightPass::run(std::span<const WeightRun> runs, std::int64_t first, const Parallel& parallel,
                     const WeightWriter* writer) {
  run(active_isa(), runs, first, parallel, writer);
}

void WeightPass::run(Isa isa, std::span<const WeightRun> runs, std::int64_t first, const Parallel& parallel,
                     const WeightWriter* writer) {
  ChainPlan plans[most_weight_runs];
  for (std::size_t i = 0; i < runs.size(); ++i) {
    plans[i] = plan_chain(runs[i].chain);
    prepare_chain(plans[i]);
  }
  const WeightPass& any = runs[0].pass;
  const WeightBlocks blocks(any.shape_, first, plans[0].n, any.planes_);
  const Stretches stretches(blocks, any.planes_, std::ssize(runs));
  const QuantizeTwiceRun twice =
      runs.size() == 2 && any.factor_ == nullptr ? quantize_twice_run(isa, plans) : nullptr;
  const std::int64_t chunks = std::min(plans[0].chunks, most_weight_chunks), count = stretches.size();
  parallel(chunks, [&](std::int64_t chunk) {
    alignas(64) std::int8_t integers[stretch_bytes];
    alignas(64) float values[chain_block_floats];
    alignas(64) std::uint16_t random[chain_block_floats + 128];
    ChainWork work{};
    work.values = values, work.random = random + 32;
    Share shares[most_weight_runs];
    const std::int64_t own = stretch_bytes / std::ssize(runs) / 64 * 64;
    std::int8_t* room = integers;
    for (std::size_t i = 0; i < runs.size(); ++i, room += own)
      shares[i] = {&runs[i].pass, &plans[i], quantize_run(isa), twice, chunk, first, i == 0, work, room};
    WeightBlock blocks_of_stretch[most_stretch_blocks];
    for (std::int64_t i = count * chunk / chunks; i < count * (chunk + 1) / chunks; ++i)
      run_stretch(std::span<const Share>(shares, runs.size()), stretches.blocks(i, blocks_of_stretch),
                  writer);
  });
  for (std::size_t i = 0; i < runs.size(); ++i) finish_chain(plans[i], runs[i].chain);
}

void WeightPass::pack_block(const WeightBlock& block, const std::int8_t* integers, std::int64_t pitch,
                            std::int64_t plane_bytes) const {
  for (int plane = 0; plane < planes_; ++plane, integers += plane_bytes) {
    for (const PackTarget& target : targets_)
      if (target.kernel->packs_blocks())
        target.kernel->pack_block(
            block, integers, pitch,
            static_cast<std::uint8_t*>(target.packed) + plane * target.kernel->packed_stride());
    for (std::int64_t k = block.k; whole_ && k < block.k_end; ++k)
      std::memcpy(plain_ + plane * plane_stride() + k * shape_.row() + block.begin,
                  integers + (k - block.k) * pitch, static_cast<std::size_t>(block.end - block.begin));
  }
}

OCTAVO_CLONES void raise_maxima(const float* __restrict weights, float factor, std::int64_t count,
                                std::uint32_t* __restrict most) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(weights[i] * factor) & 0x7FFFFFFFu;
    most[i] = bits > most[i] ? bits : most[i];
  }
}

std::int64_t weight_maxima_words(const WeightShape& shape) { return maxima_chunks(shape) * shape.c; }

void weight_maxima(const WeightShape& shape, const float* weights, const float* factor,
                   std::uint32_t* max_bits, std::uint32_t* scratch, const Parallel& parallel) {
  const std::int64_t chunks = maxima_chunks(shape);
  parallel(chunks, [&](std::int64_t chunk) {
    std::uint32_t* most = scratch + chunk * shape.c;
    std::fill(most, most + shape.c, 0);
    for (std::int64_t k = shape.k * chunk / chunks; k < shape.k * (chunk + 1) / chunks; ++k)
      for (std::int64_t tap = 0; tap < shape.taps; ++tap) {
        const float* from = weights + k * shape.row() + tap * shape.c;
        for (std::int64_t i = 0; i < shape.c; i += fetch_block) {
          fetch_ahead(from + i);
          raise_maxima(from + i, factor[k], std::min(fetch_block, shape.c - i), most + i);
        }
      }
  });
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
    for (std::int64_t i = 0; i < shape.c; ++i)
      max_bits[i] = std::max(max_bits[i], scratch[chunk * shape.c + i]);
}

void WeightPass::finish(const Parallel& parallel) const {
  for (const PackTarget& target : targets_)
    if (!target.kernel->packs_blocks())
      target.kernel->pack_planes(plain_, plane_stride(), planes_, target.packed, parallel);
}

}  // namespace octavo::kernels
