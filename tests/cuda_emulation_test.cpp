// The CUDA backend's integer convolution, emulated lane by lane from its own headers: equal to the reference.
#include <cstdlib>
#include <set>

#include "cuda/arguments.h"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

template <class Maps = DeviceMaps>
std::string difference(const ConvShape& shape, Product product, const cu::ConvOptions& options,
                       Instruction instruction) {
  const cu::ConvPlan plan = cu::plan_conv(shape, product, options);
  const PlainOperands operands = draw_operands(shape, product, options.a_planes, options.b_planes);
  const auto expected = reference_sums(shape, product, operands, options.a_unsigned, plan.result_elements());
  return first_difference(
      emulate<Maps>(plan, device_a(plan, operands), device_b(plan, operands), instruction), expected);
}
template <class Maps = DeviceMaps>
bool matches(const ConvShape& shape, Product product, const cu::ConvOptions& options,
             Instruction instruction) {
  return difference<Maps>(shape, product, options, instruction) == none;
}

void check(const ConvShape& shape, Product product, const cu::ConvOptions& options, Instruction instruction) {
  INFO(product_name(product) << " " << describe(shape));
  CHECK(difference(shape, product, options, instruction) == none);
}

}  // namespace

TEST_CASE("cuda: fragment maps cover their matrices once") {
  std::set<std::pair<int, int>> a, b, c;
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < 4; ++r) {
      const cu::Place p = cu::MmaM16N8K32::c(lane, r);
      c.emplace(p.row, p.column);
      for (int byte = 0; byte < 4; ++byte) {
        const cu::Place q = cu::MmaM16N8K32::a(lane, r, byte), s = cu::MmaM16N8K32::b(lane, r % 2, byte);
        a.emplace(q.row, q.column), b.emplace(s.row, s.column);
      }
    }
  CHECK((a.size() == 16 * 32 && b.size() == 8 * 32 && c.size() == 16 * 8));
  // Rows of the table for m16n8k32 in the PTX ISA.
  CHECK(cu::MmaM16N8K32::a(5, 1, 2) == cu::Place{9, 6});
  CHECK(cu::MmaM16N8K32::a(5, 2, 0) == cu::Place{1, 20});
  CHECK(cu::MmaM16N8K32::b(31, 1, 3) == cu::Place{7, 31});
  CHECK(cu::MmaM16N8K32::c(31, 3) == cu::Place{15, 7});
  CHECK(cu::MmaM8N8K16::a(6, 0, 1) == cu::Place{1, 9});
  CHECK(cu::MmaM8N8K16::c(6, 1) == cu::Place{1, 5});
}

TEST_CASE("cuda: descriptors and sums of warpgroups are those of the PTX tables") {
  std::set<std::pair<int, int>> sums;
  for (int thread = 0; thread < 128; ++thread)
    for (int reg = 0; reg < 64; ++reg) {
      const cu::Place p = cu::WgmmaM64K32::c(thread, reg);
      sums.emplace(p.row, p.column);
      // As the warps of a tile hold them.
      const cu::Place of_warp = cu::MmaM16N8K32::c(thread % 32, reg % 4);
      CHECK(p ==
            cu::Place{cu::warp_row<cu::WideGroups>(thread / 32) + of_warp.row, reg / 4 * 8 + of_warp.column});
    }
  CHECK((sums.size() == 64 * 128 && sums.rbegin()->first == 63));
  CHECK(cu::WgmmaM64K32::c(37, 6) == cu::Place{25, 10});
  CHECK(cu::WgmmaM64K32::c(127, 63) == cu::Place{63, 127});
  CHECK(cu::matrix_descriptor(0x12340) == 0x8000002000011234);
  for (std::uint32_t start : {0U, 512U, 16384U * 6 + 8192})
    for (int row = 0; row < 128; ++row)
      for (int k = 0; k < 2; ++k)
        for (int segment = 0; segment < 2; ++segment)
          CHECK(matrix_segment(cu::at_step(cu::matrix_descriptor(start), k), row, segment) ==
                start + static_cast<unsigned>(cu::swizzled(row, 2 * k + segment)));
  CHECK_THROWS_AS(matrix_segment(1ULL << 49, 0, 0), std::logic_error);
  CHECK(cu::WideGroups::stage_bytes % cu::wgmma_pattern_bytes(64) == 0);
  CHECK(cu::NarrowGroups::stage_bytes % cu::wgmma_pattern_bytes(64) == 0);
  CHECK(cu::SmallGroups::stage_bytes % cu::wgmma_pattern_bytes(64) == 0);
  CHECK(cu::BroadGroups::stage_bytes % cu::wgmma_pattern_bytes(64) == 0);
}

TEST_CASE("cuda: shared memory keeps segments apart, and ldmatrix and copies meet no bank twice") {
  std::set<int> places;
  for (int row = 0; row < 128; ++row)
    for (int segment = 0; segment < 4; ++segment) places.insert(cu::swizzled(row, segment));
  CHECK((places.size() == 512 && *places.begin() == 0 && *places.rbegin() == 128 * 64 - 16));
  for (int row = 0; row < 120; ++row)  // the kernels step by whole patterns
    for (int segment = 0; segment < 4; ++segment)
      CHECK(cu::swizzled(row + 8, segment) == cu::swizzled(row, segment) + 8 * cu::row_bytes);
  CHECK((cu::WideTile::copy_rows % 8 == 0 && cu::NarrowTile::copy_rows % 8 == 0));
  const auto groups = [](auto place) {  // eight lanes read or write 128 bytes at once
    std::set<int> banks;
    for (int lane = 0; lane < 8; ++lane) {
      const cu::TilePlace p = place(lane);
      banks.insert(cu::swizzled(p.row, p.segment) / 16 % 8);
    }
    return banks.size();
  };
  for (int row = 0; row < 64; row += 16)
    for (int first = 0; first < 32; first += 8)
      for (int step = 0; step < 2; ++step) {
        CHECK(groups([&](int lane) { return cu::a_matrix_place(first + lane, row, step); }) == 8);
        CHECK(groups([&](int lane) { return cu::b_matrix_place(first + lane, row, step); }) == 8);
        CHECK(groups([&](int lane) { return cu::copy_place<cu::WideTile>(first + lane, row / 16); }) == 8);
      }
}

namespace {

template <class Shape>
void check_waiting_results() {
  std::set<int> words;
  constexpr int rows = cu::waiting_rows<Shape>;
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < Shape::n; ++column) words.insert(cu::result_word<Shape>(row, column));
  CHECK(static_cast<int>(words.size()) == rows * Shape::n);
  CHECK((*words.begin() == 0 && *words.rbegin() == rows * Shape::n - 1));
  std::set<int> rows_of_tile;
  for (int turn = 0; turn < Shape::warp_m / Shape::turn_rows; ++turn)
    for (int place = 0; place < rows; ++place) rows_of_tile.insert(cu::waiting_row<Shape>(place, turn));
  CHECK((static_cast<int>(rows_of_tile.size()) == Shape::m && *rows_of_tile.rbegin() == Shape::m - 1));
  const auto banks = [](auto word) {
    std::set<int> seen;
    for (int lane = 0; lane < 32; ++lane) seen.insert(word(lane) % 32);
    return seen.size();
  };
  for (int first = 0; first < rows; first += 16)
    for (int j = 0; j < Shape::n; j += 8)
      for (int r = 0; r < 4; ++r)
        CHECK(banks([&](int lane) {
                const cu::Place at = cu::MmaM16N8K32::c(lane, r);
                return cu::result_word<Shape>(first + at.row, j + at.column);
              }) == 32);
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < Shape::n; column += 32)
      CHECK(banks([&](int lane) { return cu::result_word<Shape>(row, column + lane); }) == 32);
  for (int row = 0; row < rows; row += 32)
    for (int column = 0; column < Shape::n; ++column)
      CHECK(banks([&](int lane) { return cu::result_word<Shape>(row + lane, column); }) == 32);
}

}  // namespace

TEST_CASE("cuda: results wait in shared memory apart, and are written and read without bank conflicts") {
  check_waiting_results<cu::NarrowTile>();
  check_waiting_results<cu::WideGroups>();
  check_waiting_results<cu::SmallGroups>();
  check_waiting_results<cu::BroadGroups>();
}

TEST_CASE("cuda: blocks visit every tile once") {
  for (int m : {1, 7, 8, 9, 23})
    for (int n : {1, 2, 5})
      for (int classes : {1, 4}) {
        const cu::TileGrid grid{m, n, classes, 3};
        std::set<std::array<int, 4>> seen;
        for (std::int64_t i = 0; i < grid.blocks(); ++i) {
          const cu::TileAt at = cu::tile_at(grid, i);
          CHECK((at.m < m && at.n < n && at.which < classes && at.group < 3));
          seen.insert({at.m, at.n, at.which, at.group});
        }
        CHECK(static_cast<std::int64_t>(seen.size()) == grid.blocks());
      }
}

TEST_CASE("cuda: a cursor that advances is the cursor at its place") {
  std::mt19937 generator(3);
  for (int i = 0; i < 40; ++i)
    for (Product product : all_products) {
      const cu::ConvPlan plan = cu::plan_conv(draw_shape(generator), product, {});
      for (int which = 0; which < plan.gemm.classes(); ++which) {
        const cu::GemmClass c = cu::gemm_class(plan.gemm, which);
        if (c.h.taps * c.w.taps == 0) continue;
        cu::Cursor at = cu::cursor_at(c, 1);
        for (int step = 0; step < c.steps(); ++step, cu::advance(c, at, 4)) {
          const cu::Cursor direct = cu::cursor_at(c, 1 + 4 * step);
          REQUIRE((direct.segment == at.segment && direct.tap_w == at.tap_w && direct.tap_h == at.tap_h));
        }
      }
    }
}

TEST_CASE("cuda: the three products equal the reference over drawn shapes") {
  std::mt19937 generator(1);
  const auto draw = [&](int count) {
    return static_cast<std::size_t>(std::uniform_int_distribution<int>(0, count - 1)(generator));
  };
  std::set<std::array<std::size_t, 3>> seen;  // product, tile or the plan's own, instruction
  for (int i = 0; i < 120; ++i) {
    const ConvShape shape = draw_shape(generator);
    for (std::size_t product = 0; product < 3; ++product) {
      const std::size_t tile = draw(4), instruction = draw(4);
      cu::ConvOptions options{.processors = draw(2) == 0 ? 132 : 1,
                              .least_splits = 1 + static_cast<int>(draw(3))};
      if (tile < 3) options.tile = all_tiles[tile];
      check(shape, all_products[product], options, all_instructions[instruction]);
      seen.insert({product, tile, instruction});
    }
  }
  CHECK(seen.size() == 3 * 4 * 4);
}

TEST_CASE("cuda: several wide tiles along rows and filters") {
  const ConvShape shape = conv(2, 12, 12, 140, 150, 1, 1);
  for (Product product : all_products) {
    const cu::ConvPlan plan = cu::plan_conv(shape, product, {.tile = cu::TileKind::wide});
    CHECK((plan.grid.m_tiles > 1 && plan.grid.n_tiles > 1));
    for (Instruction instruction : all_instructions)
      check(shape, product, {.tile = cu::TileKind::wide}, instruction);
  }
  for (Product product : all_products)
    check(conv(2, 12, 12, 140, 300, 1, 1), product, {.tile = cu::TileKind::broad}, Instruction::wgmma);
  check(conv(4, 10, 10, 20, 130, 3, 3, 1, 1), Product::forward,
        {.tile = cu::TileKind::wide, .least_splits = 2}, Instruction::m8n8k16);
}

TEST_CASE("cuda: the shapes of the CPU's tests") {
  std::size_t i = 0;
  for (const ConvShape& shape : shapes()) {
    ++i;
    for (std::size_t product = 0; product < 3; ++product) {  // each meets each instruction
      check(shape, all_products[product], {}, all_instructions[(i + product) % 4]);
      if (all_products[product] != Product::grad_input)
        check(shape, all_products[product], {.a_unsigned = true}, all_instructions[(i / 4 + product) % 4]);
    }
  }
}

TEST_CASE("cuda: operands of several planes") {
  std::mt19937 generator(5);
  for (int i = 0; i < 12; ++i) {
    const ConvShape shape = draw_shape(generator);
    for (Product product : all_products)
      check(shape, product, {.a_planes = 1 + i % 3, .b_planes = 1 + i / 3 % 3, .least_splits = 1 + i % 2},
            i % 2 == 0 ? Instruction::m16n8k32 : Instruction::wgmma);
  }
}

TEST_CASE("cuda: sums longer than int32 holds are cut, and the cut is invisible") {
  for (const auto& [shape, product, a_unsigned] :
       {std::tuple(linear(3, 131072, 2), Product::forward, false),
        std::tuple(linear(3, 2, 131200), Product::grad_input, false),
        std::tuple(linear(140000, 3, 2), Product::grad_weight, false),
        std::tuple(linear(70000, 3, 2), Product::grad_weight, true)}) {
    const cu::ConvPlan plan = cu::plan_conv(shape, product, {.a_unsigned = a_unsigned, .processors = 1});
    CHECK(plan.gemm.splits > 1);
    CHECK(plan.gemm.split_steps * 64 <= (a_unsigned ? cu::longest_unsigned_sum : cu::longest_signed_sum));
    PlainOperands operands = draw_operands(shape, product, 1, 1);
    for (Bytes* bytes : {&operands.a[0], &operands.b[0]}) std::fill(bytes->begin(), bytes->end(), -128);
    if (a_unsigned) std::fill(operands.a[0].begin(), operands.a[0].end(), -1);  // the byte of 255
    const auto expected = reference_sums(shape, product, operands, a_unsigned, plan.result_elements());
    for (Instruction instruction : {Instruction::m16n8k32, Instruction::wgmma})
      CHECK(first_difference(emulate(plan, device_a(plan, operands), device_b(plan, operands), instruction),
                             expected) == none);
  }
}

namespace {

struct WrongSwizzle : DeviceMaps {
  static int read(int row, int segment) { return row * 64 + (segment ^ (row & 3)) * 16; }
};
struct WrongMatrices : DeviceMaps {
  static cu::TilePlace a_matrix(int lane, int row, int step) {
    return {row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2};  // the order of B
  }
};
struct WrongResults : DeviceMaps {
  static cu::Place c(int lane, int reg) { return {lane / 4 + reg % 2 * 8, lane % 4 * 2 + reg / 2}; }
};
struct WrongQuarters : DeviceMaps {
  static cu::QuarterStep quarter(int i) { return {i % 2 * 2 + i / 2, i / 2, i / 2 * 2}; }
};
struct WrongCopies : DeviceMaps {
  static int stored(int row, int segment) { return row * 64 + (segment ^ (row & 3)) * 16; }
};
constexpr std::uint64_t add_bits(std::uint64_t descriptor, int bit, std::int64_t units) {
  return descriptor + (static_cast<std::uint64_t>(units) << bit);
}
struct WiderSwizzle : DeviceMaps {
  static std::uint64_t descriptor(std::uint32_t address) {
    return cu::matrix_descriptor(address) & ~(3ULL << 62) | 1ULL << 62;
  }
};
struct NoSwizzle : DeviceMaps {
  static std::uint64_t descriptor(std::uint32_t address) {
    return cu::matrix_descriptor(address) & ~(3ULL << 62);
  }
};
struct WrongDistance : DeviceMaps {
  static std::uint64_t descriptor(std::uint32_t address) {
    return add_bits(cu::matrix_descriptor(address), 32, -16);
  }
};
struct WrongStart : DeviceMaps {
  static std::uint64_t descriptor(std::uint32_t address) {
    return add_bits(cu::matrix_descriptor(address), 0, 1);
  }
};
struct WrongStep : DeviceMaps {
  static std::uint64_t at_step(std::uint64_t descriptor, int k) { return cu::at_step(descriptor, 2 * k); }
};
struct LateCursor : DeviceMaps {
  static void advance(const cu::GemmClass& c, cu::Cursor& at, int by) { cu::advance(c, at, by - 1); }
};

}  // namespace

TEST_CASE("cuda: the emulation notices a wrong map") {
  const ConvShape shape = conv(3, 7, 6, 20, 24, 3, 3, 2, 1);
  for (Product product : all_products) {
    CHECK(matches(shape, product, {}, Instruction::m16n8k32));
    CHECK_FALSE(matches<WrongSwizzle>(shape, product, {}, Instruction::m16n8k32));
    CHECK_FALSE(matches<WrongSwizzle>(shape, product, {}, Instruction::dp4a));
    CHECK_FALSE(matches<WrongMatrices>(shape, product, {}, Instruction::m16n8k32));
    CHECK_FALSE(matches<WrongResults>(shape, product, {}, Instruction::m8n8k16));
    CHECK_FALSE(matches<WrongQuarters>(shape, product, {}, Instruction::m8n8k16));
    CHECK_FALSE(matches<LateCursor>(shape, product, {}, Instruction::m16n8k32));
    CHECK(matches(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WrongCopies>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WrongResults>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WiderSwizzle>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<NoSwizzle>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WrongDistance>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WrongStart>(shape, product, {}, Instruction::wgmma));
    CHECK_FALSE(matches<WrongStep>(shape, product, {}, Instruction::wgmma));
  }
}

TEST_CASE("cuda: what the kernels refuse is said with sizes and what to change") {
  const ConvShape shape = conv(2, 5, 5, 16, 16, 3, 3);
  CHECK_THAT(cu::refuse_conv(shape, Product::grad_input, {.a_unsigned = true}),
             ContainsSubstring("X in one plane"));
  CHECK_THAT(cu::refuse_conv(shape, Product::forward, {.a_planes = 4}), ContainsSubstring("1 to 3 planes"));
  CHECK_THAT(cu::refuse_conv(shape, Product::forward, {.sample_classes = 24}),
             ContainsSubstring("of the weight gradient"));
  CHECK_THAT(cu::refuse_conv(linear(200000, 8, 8), Product::grad_weight, {.a_planes = 3, .b_planes = 3}),
             ContainsSubstring("int64"));
  CHECK_THAT(cu::refuse_conv(conv(1, 50000, 50000, 8, 8, 1, 1), Product::forward, {}),
             ContainsSubstring("2 GiB"));
  CHECK_THAT(cu::refuse_conv(shape, Product::forward, {.a_planes = 4}),
             ContainsSubstring("forward of X 2x5x5x16"));
  CHECK_THROWS_AS(cu::plan_conv(shape, Product::forward, {.b_planes = 0}), std::invalid_argument);
  for (const ConvShape& each : shapes())
    for (Product product : all_products) CHECK(cu::refuse_conv(each, product, {}).empty());
}

TEST_CASE("cuda: sizes that a grid of blocks cannot hold are refused") {
  // 2.0e9 rows of results and 8192 filters: 4.0e9 tiles of 64 x 64, 1.0e9 of 128 x 128.
  const ConvShape many = conv(8192, 496, 496, 16, 8192, 1, 1);
  CHECK_THAT(cu::refuse_conv(many, Product::forward, {.tile = cu::TileKind::small}),
             ContainsSubstring("tiles"));
  CHECK(cu::refuse_conv(many, Product::forward, {.tile = cu::TileKind::wide}).empty());
  const ConvShape strided = conv(1, 256, 256, 16, 16, 1, 1, 256);
  CHECK_THAT(cu::refuse_conv(strided, Product::grad_input, {}), ContainsSubstring("2^16"));
  CHECK(cu::refuse_conv(strided, Product::forward, {}).empty());
  CHECK(cu::refuse_conv(conv(1, 255, 255, 16, 16, 1, 1, 255), Product::grad_input, {}).empty());
  // Parts lie along y of the grid; what asks for more of them gets fewer.
  for (int planes : {1, 3}) {
    const cu::ConvPlan plan =
        cu::plan_conv(linear(1, 1 << 23, 1), Product::forward, {.a_planes = planes, .least_splits = 1 << 20});
    CHECK((plan.parts() <= cu::most_parts && plan.parts() > cu::most_parts / 2));
    CHECK(plan.gemm.split_steps * 64 <= cu::longest_signed_sum);
    CHECK(std::int64_t{plan.gemm.splits} * plan.gemm.split_steps * 64 >= 1 << 23);
  }
}

TEST_CASE("cuda: pointers that a product cannot take are refused by name") {
  alignas(16) std::int8_t bytes[64] = {};
  alignas(16) float floats[16] = {};
  alignas(16) std::int64_t integers[4] = {};
  const cu::ConvPlan plan = cu::plan_conv(conv(2, 5, 5, 16, 16, 3, 3), Product::forward, {});
  ConvArgs good{.a = bytes, .b = bytes, .a_scale = floats, .b_scale = floats};
  good.out = floats;
  CHECK_NOTHROW(cu::check_arguments(plan, good, nullptr));
  const auto refused = [&](auto change, const std::string& why) {
    ConvArgs args = good;
    change(args);
    CHECK_THROWS_WITH(cu::check_arguments(plan, args, nullptr),
                      ContainsSubstring("forward of X 2x5x5x16") && ContainsSubstring(why));
  };
  refused([](ConvArgs& a) { a.a = nullptr; }, ": a is null");
  refused([](ConvArgs& a) { a.b = nullptr; }, ": b is null");
  refused([&](ConvArgs& a) { a.a = bytes + 8; }, ": a does not start at a multiple of 16 bytes");
  refused([&](ConvArgs& a) { a.b = bytes + 1; }, ": b does not start");
  refused([](ConvArgs& a) { a.out = {}; }, "neither integers nor out");
  refused([](ConvArgs& a) { a.a_scale = nullptr; }, "a_scale is null");
  refused([](ConvArgs& a) { a.b_scale = nullptr; }, "b_scale is null");
  refused([&](ConvArgs& a) { a.out = FloatTarget(bytes + 2, FloatType::f32); }, "out does not start");
  refused([&](ConvArgs& a) { a.bias = reinterpret_cast<const float*>(bytes + 2); }, "bias does not start");
  refused([](ConvArgs& a) { a.a_planes = 2; }, "other planes");
  const std::uint8_t classes[2] = {};
  refused([&](ConvArgs& a) { a.sample_class = classes; }, "come with the order of samples");
  const cu::SampleOrder order{};
  CHECK_THROWS_WITH(cu::check_arguments(plan, good, &order), ContainsSubstring("plans with sample classes"));
  good = {.a = bytes, .b = bytes};
  good.integers = integers;
  CHECK_NOTHROW(cu::check_arguments(plan, good, nullptr));
}

TEST_CASE("cuda: OCTAVO_CUDA_KERNELS names the family") {
  const char* before = std::getenv("OCTAVO_CUDA_KERNELS");
  const std::string kept = before == nullptr ? "" : before;
  unsetenv("OCTAVO_CUDA_KERNELS");
  CHECK_FALSE(cu::asked_family().has_value());
  setenv("OCTAVO_CUDA_KERNELS", "mma", 1);
  CHECK(cu::asked_family() == cu::Family::mma);
  setenv("OCTAVO_CUDA_KERNELS", "dp4a", 1);
  CHECK(cu::asked_family() == cu::Family::dp4a);
  setenv("OCTAVO_CUDA_KERNELS", "wgmma", 1);
  CHECK(cu::asked_family() == cu::Family::wgmma);
  CHECK(cu::active_library() == cu::Library::none);
  setenv("OCTAVO_CUDA_KERNELS", "cublaslt", 1);
  CHECK_FALSE(cu::asked_family().has_value());
  CHECK(cu::active_library() == cu::Library::cublaslt);
  setenv("OCTAVO_CUDA_KERNELS", "cudnn", 1);
  CHECK(cu::active_library() == cu::Library::cudnn);
  setenv("OCTAVO_CUDA_KERNELS", "tma", 1);
  CHECK_THROWS_WITH(cu::asked_family(),
                    ContainsSubstring("tma is unknown; choose mma, dp4a, wgmma, cublaslt or cudnn"));
  setenv("OCTAVO_CUDA_KERNELS", kept.c_str(), 1);
  CHECK(cu::options_for(cu::Family::dp4a, {.tile = cu::TileKind::wide}).tile == cu::TileKind::small);
  CHECK(cu::options_for(cu::Family::mma, {.tile = cu::TileKind::wide}).tile == cu::TileKind::wide);
  CHECK(cu::options_for(cu::Family::mma, {.tile = cu::TileKind::broad}).tile == cu::TileKind::wide);
  CHECK(cu::options_for(cu::Family::wgmma, {.tile = cu::TileKind::broad}).tile == cu::TileKind::broad);
}
