// The device's integer convolution on the host: walks blocks, warps and lanes through the headers of
// kernels/cuda and does the matrix instructions by the PTX fragment tables, in int32.
#pragma once

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/class_steps.h"
#include "cuda/conv_plan.h"
#include "cuda/shared_tile.h"
#include "support/catch.h"
#include "support/wgmma.h"

namespace octavo::kernels::test {

namespace cu = octavo::kernels::cuda;

using Bytes = std::vector<std::int8_t>;

/// The maps of the kernels. A test replaces one of them and must see wrong sums.
struct DeviceMaps {
  static int stored(int row, int segment) { return cu::swizzled(row, segment); }
  static int read(int row, int segment) { return cu::swizzled(row, segment); }
  static cu::TilePlace a_matrix(int lane, int row, int step) { return cu::a_matrix_place(lane, row, step); }
  static cu::TilePlace b_matrix(int lane, int row, int step) { return cu::b_matrix_place(lane, row, step); }
  static cu::Place c(int lane, int reg) { return cu::MmaM16N8K32::c(lane, reg); }
  static std::uint64_t descriptor(std::uint32_t address) { return cu::matrix_descriptor(address); }
  static std::uint64_t at_step(std::uint64_t descriptor, int k) { return cu::at_step(descriptor, k); }
  static cu::QuarterStep quarter(int i) { return cu::quarter_step(i); }
  static void advance(const cu::GemmClass& c, cu::Cursor& at, int by) { cu::advance(c, at, by); }
  static int octaves(int from, int to) { return from - to; }
};

enum class Instruction { m16n8k32, m8n8k16, dp4a, wgmma };

template <int count>
using Registers = std::array<std::array<std::array<std::int8_t, 4>, count>, 32>;  // [lane][register][byte]

/// Operands of one part of a product.
struct Operand {
  const Bytes* bytes;
  std::int64_t plane;  // bytes to skip
};

/// One block: calls sink(number of the sum, row, column, sum) for every result inside.
template <class Shape, class Maps>
class BlockEmulation {
 public:
  BlockEmulation(const cu::ConvPlan& plan, Operand a, Operand b, cu::TileAt at, const cu::SampleOrder* order)
      : plan_(plan),
        g_(plan.gemm),
        class_(cu::gemm_class(g_, at.which)),
        at_(at),
        order_(order),
        a_(a),
        b_(b) {}

  template <class Sink>
  void run(Instruction instruction, int split, const Sink& sink) {
    if (order_ == nullptr) {
      const int first = split * g_.split_steps, last = std::min(first + g_.split_steps, class_.steps());
      run_steps(instruction, first, last - first);
      return emit([&](auto... at) { sink(split, at...); });
    }
    const cu::ClassSteps steps = cu::class_steps(g_, *order_);
    for (cu::Chain chain; cu::next_chain(*order_, steps, chain);) {
      cu::Piece piece = cu::piece_of(*order_, steps, chain, split);
      if (piece.steps <= 0) continue;
      int octave = order_->range[piece.range].octave;
      for (; piece.steps > 0; ++piece.range, piece.skipped = 0) {
        const cu::ClassRange range = order_->range[piece.range];
        class_.first = range.first, class_.segments = range.segments;
        const int count = std::min(piece.steps, class_.steps() - piece.skipped);
        shift(Maps::octaves(octave, range.octave));
        run_steps(instruction, piece.skipped, count);
        octave = range.octave, piece.steps -= count;
      }
      shift(octave - chain.octave);
      emit([&](auto... at) { sink(split + chain.index, at...); });
      sums_ = {};
    }
  }

 private:
  void run_steps(Instruction instruction, int first, int count) {
    begin_copies(first);
    for (int step = 0; step < count; ++step) {
      copy_step();
      if (instruction == Instruction::wgmma) {
        for (int group = 0; group < Shape::threads / cu::WgmmaM64K32::threads; ++group)
          for (int k = 0; k < Shape::k_steps; ++k) multiply_group(group, k);
        continue;
      }
      for (int warp = 0; warp < Shape::threads / 32; ++warp)
        if (instruction == Instruction::dp4a)
          dot_products(warp);
        else
          for (int k = 0; k < Shape::k_steps; ++k) multiply(warp, k, instruction);
    }
  }

  void shift(int octaves) {
    for (int warp = 0; warp < Shape::threads / 32; ++warp)
      visit_fragments(warp, [&](int, int, std::int32_t& sum) { sum *= 1 << octaves; });
  }

  template <class Sink>
  void emit(const Sink& sink) {
    for (int warp = 0; warp < Shape::threads / 32; ++warp)
      visit_fragments(warp, [&](int row, int column, std::int32_t& sum) {
        const std::int64_t m = std::int64_t{at_.m} * Shape::m + row,
                           n = std::int64_t{at_.n} * Shape::n + column;
        if (m < class_.rows(g_) && n < g_.filters) sink(m, static_cast<int>(n), sum);
      });
  }

  static constexpr int warps = Shape::threads / 32;
  static constexpr std::uint32_t stage_address = 3 * 512;  // a multiple of a pattern, as stages are
  using Sums = std::array<std::array<std::array<std::array<std::int32_t, 4>, 32>, Shape::n_fragments>,
                          Shape::m_fragments>;

  void begin_copies(int first) {
    for (int thread = 0; thread < Shape::threads; ++thread) {
      const int segment = cu::copy_place<Shape>(thread, 0).segment;
      cursors_[thread] = cu::cursor_at(class_, first * Shape::row_segments + segment);
      for (int i = 0; i < Shape::a_copies; ++i)
        starts_[thread][i] = cu::row_start(
            g_, class_, at_.group, std::int64_t{at_.m} * Shape::m + cu::copy_place<Shape>(thread, i).row);
    }
  }

  void copy_segment(std::int8_t* to, const Operand& from, bool inside, int segment) {
    if (!inside) {
      std::memset(to, 0, 16);
      return;
    }
    const std::int64_t offset = std::int64_t{segment} * 16;
    if (offset < 0 || from.plane + offset + 16 > static_cast<std::int64_t>(from.bytes->size()))
      FAIL("segment at " << offset << " is outside of the operand");
    std::memcpy(to, from.bytes->data() + from.plane + offset, 16);
  }

  void copy_step() {
    shared_.fill(77);  // what a step does not copy must not matter
    for (int thread = 0; thread < Shape::threads; ++thread) {
      cu::Cursor& cursor = cursors_[thread];
      const cu::TapAt tap = cu::tap_at(g_, class_, cursor);
      for (int i = 0; i < Shape::a_copies; ++i) {
        const cu::TilePlace place = cu::copy_place<Shape>(thread, i);
        const cu::RowStart& row = starts_[thread][i];
        copy_segment(&shared_[Maps::stored(place.row, place.segment)], a_, cu::reads_a(g_, row, tap),
                     row.offset + tap.a);
      }
      for (int i = 0; i < Shape::b_copies; ++i) {
        const cu::TilePlace place = cu::copy_place<Shape>(thread, i);
        const int filter = at_.n * Shape::n + place.row;
        const bool inside = cu::reads_b(g_, filter, tap);
        copy_segment(&shared_[Shape::a_bytes + Maps::stored(place.row, place.segment)], b_, inside,
                     inside ? cu::filter_start(g_, at_.group, filter) + tap.b : 0);
      }
      Maps::advance(class_, cursor, Shape::row_segments);
    }
  }

  /// ldmatrix.x4: lane l's register j holds four bytes of row l / 4 of matrix j, whose rows lanes 8j..
  /// address.
  template <class Map>
  Registers<4> load_matrices(int base, const Map& map) const {
    Registers<4> registers;
    for (int lane = 0; lane < 32; ++lane)
      for (int j = 0; j < 4; ++j) {
        const cu::TilePlace place = map(j * 8 + lane / 4);
        std::memcpy(registers[lane][j].data(),
                    &shared_[base + Maps::read(place.row, place.segment) + lane % 4 * 4], 4);
      }
    return registers;
  }

  void multiply(int warp, int k, Instruction instruction) {
    std::array<Registers<4>, Shape::m_fragments> a;
    std::array<Registers<4>, Shape::n_fragments / 2> b;
    for (int i = 0; i < Shape::m_fragments; ++i)
      a[i] = load_matrices(
          0, [&](int lane) { return Maps::a_matrix(lane, cu::warp_row<Shape>(warp) + i * 16, k); });
    for (int i = 0; i < Shape::n_fragments / 2; ++i)
      b[i] = load_matrices(Shape::a_bytes, [&](int lane) {
        return Maps::b_matrix(lane, cu::warp_column<Shape>(warp) + i * 16, k);
      });
    for (int i = 0; i < Shape::m_fragments; ++i)
      for (int j = 0; j < Shape::n_fragments; ++j)
        if (instruction == Instruction::m16n8k32)
          large_mma(a[i], b[j / 2], j % 2 * 2, sums_[warp][i][j]);
        else
          for (int q = 0; q < 4; ++q)
            quarter_mma(a[i], b[j / 2], j % 2 * 2, Maps::quarter(q), sums_[warp][i][j]);
  }

  using Fragment = std::array<std::array<std::int32_t, 4>, 32>;

  void large_mma(const Registers<4>& a, const Registers<4>& b, int b_first, Fragment& sums) const {
    using Mma = cu::MmaM16N8K32;
    int left[Mma::m][Mma::k], right[Mma::n][Mma::k];
    for (int lane = 0; lane < 32; ++lane)
      for (int byte = 0; byte < 4; ++byte) {
        for (int r = 0; r < 4; ++r) {
          const cu::Place p = Mma::a(lane, r, byte);
          left[p.row][p.column] = value_of(a[lane][r][byte]);
        }
        for (int r = 0; r < 2; ++r) {
          const cu::Place p = Mma::b(lane, r, byte);
          right[p.row][p.column] = b[lane][b_first + r][byte];
        }
      }
    for (int lane = 0; lane < 32; ++lane)
      for (int r = 0; r < 4; ++r) {
        const cu::Place p = Mma::c(lane, r);
        for (int t = 0; t < Mma::k; ++t) sums[lane][r] += left[p.row][t] * right[p.column][t];
      }
  }

  void quarter_mma(const Registers<4>& a, const Registers<4>& b, int b_first, cu::QuarterStep step,
                   Fragment& sums) const {
    using Mma = cu::MmaM8N8K16;
    int left[Mma::m][Mma::k], right[Mma::n][Mma::k];
    for (int lane = 0; lane < 32; ++lane)
      for (int byte = 0; byte < 4; ++byte) {
        const cu::Place p = Mma::a(lane, 0, byte), q = Mma::b(lane, 0, byte);
        left[p.row][p.column] = value_of(a[lane][step.a][byte]);
        right[q.row][q.column] = b[lane][b_first + step.b][byte];
      }
    for (int lane = 0; lane < 32; ++lane)
      for (int r = 0; r < 2; ++r) {
        const cu::Place p = Mma::c(lane, r);
        for (int t = 0; t < Mma::k; ++t) sums[lane][step.c + r] += left[p.row][t] * right[p.column][t];
      }
  }

  /// One wgmma of warpgroup `group`: 64 rows from where its descriptor of A says by all columns of B.
  void multiply_group(int group, int k) {
    using Mma = cu::WgmmaM64K32;
    const std::uint64_t a =
        Maps::at_step(Maps::descriptor(stage_address + static_cast<std::uint32_t>(group * Mma::m * 64)), k);
    const std::uint64_t b = Maps::at_step(Maps::descriptor(stage_address + Shape::a_bytes), k);
    // Behind the stage, where a wrong descriptor reads, are other stages.
    const auto segment = [&](std::uint64_t descriptor, int row, int number) {
      static constexpr std::array<std::int8_t, 16> other = {77};
      const std::uint32_t at = matrix_segment(descriptor, row, number) - stage_address;
      return at <= Shape::stage_bytes - 16 ? &shared_[at] : other.data();
    };
    for (int thread = 0; thread < Mma::threads; ++thread)
      for (int reg = 0; reg < Shape::n / 2; ++reg) {
        const cu::Place p = Mma::c(thread, reg);
        std::int32_t& sum = sums_[group * 4 + thread / 32][0][reg / 4][thread % 32][reg % 4];
        for (int number = 0; number < Mma::k / 16; ++number) {
          const std::int8_t *left = segment(a, p.row, number), *right = segment(b, p.column, number);
          for (int t = 0; t < 16; ++t) sum += value_of(left[t]) * right[t];
        }
      }
  }

  void dot_products(int warp) {
    visit_fragments(warp, [&](int row, int column, std::int32_t& sum) {
      for (int segment = 0; segment < Shape::row_segments; ++segment)
        for (int byte = 0; byte < 16; ++byte)
          sum += value_of(shared_[Maps::read(row, segment) + byte]) *
                 shared_[Shape::a_bytes + Maps::read(column, segment) + byte];
    });
  }

  /// Every result of a warp by its row and column in the tile.
  template <class Visit>
  void visit_fragments(int warp, const Visit& visit) {
    for (int i = 0; i < Shape::m_fragments; ++i)
      for (int j = 0; j < Shape::n_fragments; ++j)
        for (int lane = 0; lane < 32; ++lane)
          for (int r = 0; r < 4; ++r) {
            const cu::Place p = Maps::c(lane, r);
            visit(cu::warp_row<Shape>(warp) + i * 16 + p.row, cu::warp_column<Shape>(warp) + j * 8 + p.column,
                  sums_[warp][i][j][lane][r]);
          }
  }

  int value_of(std::int8_t v) const { return plan_.options.a_unsigned ? static_cast<std::uint8_t>(v) : v; }

  const cu::ConvPlan& plan_;
  const cu::ImplicitGemm& g_;
  cu::GemmClass class_;
  cu::TileAt at_;
  const cu::SampleOrder* order_;
  Operand a_, b_;
  std::array<cu::Cursor, Shape::threads> cursors_{};
  std::array<std::array<cu::RowStart, Shape::a_copies>, Shape::threads> starts_{};
  std::array<std::int8_t, Shape::stage_bytes> shared_{};
  std::array<Sums, warps> sums_{};
};

/// All sums of a product, in the order of its results, the way the kernels make them: every block of every
/// part into partial sums, then these joined in int64; with an order of samples even sums, then odd ones.
template <class Maps = DeviceMaps>
std::vector<std::int64_t> emulate(const cu::ConvPlan& plan, const Bytes& a, const Bytes& b,
                                  Instruction instruction, const cu::SampleOrder* order = nullptr) {
  const cu::ImplicitGemm& g = plan.gemm;
  std::vector<std::int32_t> parts(static_cast<std::size_t>(plan.workspace_bytes() / 4), 123456789);
  if (plan.direct()) parts.resize(static_cast<std::size_t>(g.results));
  const auto part_sum = [&](int pair, int sum, std::int64_t element) -> std::int32_t& {
    return parts.at(static_cast<std::size_t>((pair * g.sums + sum) * g.results + element));
  };
  const auto run = [&]<class Shape>(Shape, int part, cu::TileAt at) {
    const cu::PartAt p = cu::part_at(g, plan.options.b_planes, part);
    BlockEmulation<Shape, Maps> block(plan, {&a, p.a_plane * cu::plane_bytes(plan.a_bytes())},
                                      {&b, p.b_plane * cu::plane_bytes(plan.b_bytes())}, at, order);
    const cu::GemmClass c = cu::gemm_class(g, at.which);
    block.run(instruction, p.split, [&](int sum, std::int64_t row, int filter, std::int32_t value) {
      const std::int64_t element = cu::row_result(g, c, at.group, row).element + filter * g.out_filter;
      part_sum(part / g.splits, sum, element) = value;
    });
  };
  for (int part = 0; part < plan.parts(); ++part)
    for (std::int64_t i = 0; i < plan.grid.blocks(); ++i) {
      const cu::TileAt at = cu::tile_at(plan.grid, i);
      const bool groups = instruction == Instruction::wgmma;
      if (plan.tile == cu::TileKind::broad) run(cu::BroadGroups{}, part, at);
      if (plan.tile == cu::TileKind::wide)
        groups ? run(cu::WideGroups{}, part, at) : run(cu::WideTile{}, part, at);
      if (plan.tile == cu::TileKind::narrow)
        groups ? run(cu::NarrowGroups{}, part, at) : run(cu::NarrowTile{}, part, at);
      if (plan.tile == cu::TileKind::small)
        groups ? run(cu::SmallGroups{}, part, at) : run(cu::SmallTile{}, part, at);
    }
  std::vector<std::int64_t> sums(static_cast<std::size_t>(g.results * (order != nullptr ? 2 : 1)));
  const auto add = [&](int first, int count, int octave, int odd) {
    for (int pair = 0; pair < plan.parts() / g.splits; ++pair)
      for (int sum = first; sum < first + count; ++sum)
        for (std::int64_t i = 0; i < g.results; ++i)
          sums[static_cast<std::size_t>(odd * g.results + i)] +=
              std::int64_t{part_sum(pair, sum, i)}
              << (octave + 8 * (pair / plan.options.b_planes + pair % plan.options.b_planes));
  };
  if (order == nullptr) {
    add(0, g.splits, 0, 0);
    return sums;
  }
  const cu::ClassSteps steps = cu::class_steps(g, *order);
  for (cu::Chain chain; cu::next_chain(*order, steps, chain);) {
    const cu::ChainSums of = cu::chain_sums(steps, chain);
    add(of.first, of.count, chain.octave, chain.odd);
  }
  return sums;
}

}  // namespace octavo::kernels::test
