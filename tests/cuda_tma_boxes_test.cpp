// What TMA's boxes bring, segment by segment, beside what threads would copy there; which products take TMA;
// and that stand-ins of the driver and of barriers refuse what those refuse.
#include <map>

#include "cuda/check.h"
#include "cuda/shared_tile.h"
#include "cuda/tma_maps.h"
#include "cuda/tma_plan.h"
#include "support/cuda_operands.h"
#include "support/tma_copies.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// Addresses that nobody reads.
const std::int8_t* operand(int which) {
  return reinterpret_cast<const std::int8_t*>((std::uintptr_t{1} + static_cast<unsigned>(which)) << 40);
}

/// One step of one tile.
class StepBoxes {
 public:
  StepBoxes(const cu::ConvPlan& plan, const cu::ConvTma& tma, cu::TileAt at)
      : plan_(plan), g_(plan.gemm), tma_(tma), at_(at), c_(cu::gemm_class(g_, at.which)) {}

  /// The first difference from the copies of threads, or nothing.
  std::string difference(int step) {
    bring(step);
    const int segments = plan_.tma.segments(), columns = cu::tile_columns(plan_.tile);
    for (int segment = 0; segment < segments; ++segment) {
      const std::int64_t place =
          plan_.tma.flat ? std::int64_t{step} * segments + segment
                         : std::int64_t{step / plan_.tma.blocks} * g_.segments + in_tap(step) + segment;
      const bool in_tap_segments = in_tap(step) + segment < cu::tap_segments(g_, plan_.tma.flat);
      const cu::TapAt tap = cu::tap_at(g_, c_, cu::cursor_at(c_, static_cast<int>(place)));
      for (int column = 0; column < columns; ++column) {
        const int filter = at_.n * columns + column;
        const std::int8_t* found = arrived(plan_.tma.step_bytes * cu::tile_rows(plan_.tile), column, segment);
        if (filter >= g_.filters) continue;
        const bool inside = in_tap_segments && cu::reads_b(g_, filter, tap);
        if (found !=
            (inside ? operand(1) + 16LL * (cu::filter_start(g_, at_.group, filter) + tap.b) : nullptr))
          return "filter " + std::to_string(filter) + " segment " + std::to_string(segment);
      }
      if (!in_tap_segments) continue;  // zeros of B
      for (int row = 0; row < cu::tile_rows(plan_.tile); ++row) {
        const std::int64_t index = std::int64_t{at_.m} * cu::tile_rows(plan_.tile) + row;
        if (index >= c_.rows(g_)) break;
        const cu::RowStart start = cu::row_start(g_, c_, at_.group, index);
        const bool inside = cu::reads_a(g_, start, tap);
        if (arrived(0, row, segment) != (inside ? operand(0) + 16LL * (start.offset + tap.a) : nullptr))
          return "row " + std::to_string(index) + " segment " + std::to_string(segment);
      }
    }
    return {};
  }

 private:
  static constexpr std::uint32_t stage = 3 * 1024;
  int in_tap(int step) const { return step % plan_.tma.blocks * plan_.tma.segments(); }

  void bring(int step) {
    const cu::TmaSteps& t = plan_.tma;
    const cu::GemmClass c = cu::tma_class(g_, t, at_.which);
    const cu::Cursor cursor = cu::cursor_at(c, step);
    const int tile = cu::tile_rows(plan_.tile);
    segments_.clear();
    const auto keep = [&](const std::vector<ArrivingSegment>& those) {
      for (const ArrivingSegment& each : those) REQUIRE(segments_.emplace(each.to, each.from).second);
    };
    const std::int64_t first = std::int64_t{at_.m} * tile;
    const CUtensorMap& map = tma_.a[at_.which];
    for (int i = 0; i < cu::tile_boxes(t, c.rows(g_) - first, tile); ++i) {
      const cu::BoxStart start = cu::box_start(g_, t, c, at_.group, first + i * t.box_rows);
      const cu::BoxAt box = cu::a_box(g_, t, c, at_.group, start, cursor);
      TensorCopy copy(map, stage + static_cast<std::uint32_t>(i * t.box_rows * t.step_bytes));
      keep(t.im2col ? copy.im2col({box.channel, box.w, box.h, box.image}, {box.offset_w, box.offset_h})
                    : copy.tiled({box.channel, box.w, box.h, box.image}));
    }
    const int filters = cu::tile_columns(plan_.tile) / t.cluster;
    for (int rank = 0; rank < t.cluster; ++rank) {  // what each block of the cluster asks for
      const int first_filter = at_.n * cu::tile_columns(plan_.tile) + rank * filters;
      const cu::FilterBoxAt b = cu::b_box(g_, t, c, at_.group, first_filter, cursor);
      keep(TensorCopy(tma_.b, stage + static_cast<std::uint32_t>((tile + rank * filters) * t.step_bytes))
               .tiled({b.channel, b.tap, b.filter}));
    }
  }

  /// What a descriptor of wgmma reads as this segment of a row of the operand at byte `first` of the stage.
  const std::int8_t* arrived(int first, int row, int segment) const {
    const std::uint64_t descriptor =
        cu::matrix_descriptor(stage + static_cast<std::uint32_t>(first), plan_.tma.step_bytes);
    return segments_.at(matrix_segment(cu::at_step(descriptor, segment / 2), row, segment % 2));
  }

  const cu::ConvPlan& plan_;
  const cu::ImplicitGemm& g_;
  const cu::ConvTma& tma_;
  cu::TileAt at_;
  cu::GemmClass c_;
  std::map<std::uint32_t, const std::int8_t*> segments_;
};

/// Drawn steps of drawn tiles, the first and the last among them; whether the plan takes TMA at all.
bool check_boxes(const ConvShape& shape, Product product, const cu::ConvOptions& options,
                 std::mt19937& generator) {
  INFO(product_name(product) << " " << describe(shape));
  const cu::ConvPlan plan = cu::plan_conv(shape, product, options);
  REQUIRE(plan.by_tma() == cu::refuse_tma(plan).empty());
  if (!plan.by_tma()) return false;
  const cu::ConvTma tma = cu::make_tensor_maps(plan, operand(0), operand(1));
  const auto draw = [&](std::int64_t count) {
    return std::uniform_int_distribution<std::int64_t>(0, count - 1)(generator);
  };
  for (int i = 0; i < 6; ++i) {
    const int cluster = plan.tma.cluster;
    const std::int64_t blocks = cu::cluster_grid(plan.grid, cluster).blocks() * cluster;
    const cu::TileAt at = cu::cluster_tile(plan.grid, cluster,
                                           i == 0   ? 0
                                           : i == 1 ? blocks - 1
                                                    : draw(blocks));
    const cu::GemmClass c = cu::tma_class(plan.gemm, plan.tma, at.which);
    const int steps = cu::tma_steps(c);
    if (steps == 0 || std::int64_t{at.m} * cu::tile_rows(plan.tile) >= c.rows(plan.gemm)) continue;
    REQUIRE(steps <= plan.gemm.splits * plan.gemm.split_steps);
    StepBoxes boxes(plan, tma, at);
    for (int j = 0; j < 4; ++j)
      CHECK(boxes.difference(j == 0 ? 0 : j == 1 ? steps - 1 : static_cast<int>(draw(steps))).empty());
  }
  return true;
}

std::string why_not(const ConvShape& shape, Product product, const cu::ConvOptions& options = {}) {
  return cu::refuse_tma(cu::plan_conv(shape, product, options));
}

}  // namespace

TEST_CASE("cuda: boxes of TMA bring what threads would copy") {
  std::mt19937 generator(7);
  std::array<int, 3> taken{};
  constexpr std::array tiles = {cu::TileKind::wide, cu::TileKind::narrow, cu::TileKind::small,
                                cu::TileKind::broad};
  for (int i = 0; i < 300; ++i) {
    ConvShape shape = draw_shape(generator);
    shape.n *= 1 + i % 4, shape.c *= 1 + i % 3, shape.k *= 1 + i % 2;
    for (std::size_t product = 0; product < 3; ++product) {
      if (all_products[product] == Product::grad_weight)
        shape.n += 32, shape.c = 16 * shape.groups * (1 + i % 5);
      const cu::ConvOptions options{
          .tile = tiles[static_cast<std::size_t>(i) % 4], .least_splits = 1 + i % 3, .tma = true};
      if (check_boxes(shape, all_products[product], options, generator)) ++taken[product];
    }
  }
  for (int count : taken) CHECK(count > 60);
}

TEST_CASE("cuda: TMA takes the layers of a residual network, all but the first") {
  std::mt19937 generator(9);
  const std::int64_t n = 256;
  for (Product product : {Product::forward, Product::grad_weight})
    CHECK_FALSE(check_boxes(conv(n, 224, 224, 3, 64, 7, 7, 2, 3), product, {.tma = true}, generator));
  for (Product product : all_products) {
    for (const ConvShape& shape :
         {conv(n, 56, 56, 64, 64, 1, 1), conv(n, 56, 56, 64, 64, 3, 3, 1, 1), conv(n, 56, 56, 64, 256, 1, 1),
          conv(n, 56, 56, 128, 128, 3, 3, 2, 1), conv(n, 56, 56, 256, 512, 1, 1, 2),
          conv(n, 28, 28, 128, 128, 3, 3, 1, 1), conv(n, 28, 28, 256, 256, 3, 3, 2, 1),
          conv(n, 14, 14, 256, 256, 3, 3, 1, 1), conv(n, 14, 14, 1024, 256, 1, 1),
          conv(n, 7, 7, 512, 512, 3, 3, 1, 1), conv(n, 7, 7, 512, 2048, 1, 1), linear(n, 2048, 1000)}) {
      INFO(product_name(product) << " " << describe(shape));
      CHECK(check_boxes(shape, product, {.tma = true}, generator));
    }
  }
}

TEST_CASE("cuda: products that TMA does not take are told why, and threads copy them") {
  const ConvShape plain = conv(64, 9, 9, 64, 64, 3, 3, 1, 1);
  for (Product product : all_products) CHECK(why_not(plain, product).empty());
  CHECK_THAT(why_not(plain, Product::forward, {.a_planes = 2}), ContainsSubstring("several planes"));
  CHECK_THAT(why_not(plain, Product::grad_weight, {.sample_classes = 24}),
             ContainsSubstring("sample classes"));
  CHECK_THAT(why_not(conv(64, 9, 9, 32, 64, 3, 3), Product::forward), ContainsSubstring("half of a step"));
  CHECK(why_not(conv(64, 9, 9, 33, 64, 3, 3), Product::forward).empty());
  CHECK_THAT(why_not(conv(32, 9, 9, 64, 64, 3, 3), Product::grad_weight),
             ContainsSubstring("half of a step"));
  CHECK(why_not(conv(5, 9, 9, 64, 64, 1, 1), Product::grad_weight).empty());  // flat: pixels follow the batch
  CHECK_THAT(why_not(conv(64, 9, 9, 72, 64, 3, 3), Product::grad_weight),
             ContainsSubstring("no multiple of 16"));
  CHECK(why_not(conv(64, 9, 9, 72, 64, 1, 1, 2), Product::grad_weight).empty());
  CHECK_THAT(why_not(conv(2, 20, 20, 64, 64, 3, 3, 3), Product::grad_input),
             ContainsSubstring("4 classes of pixels"));
  CHECK(why_not(conv(2, 20, 20, 64, 64, 3, 3, 3), Product::forward).empty());
  CHECK_THAT(why_not(conv(2, 20, 20, 64, 64, 3, 3, 9), Product::forward),
             ContainsSubstring("range of im2col"));
  CHECK(why_not(conv(2, 20, 300, 64, 64, 1, 3, 1, 0, 64), Product::forward).empty());
  CHECK_THAT(why_not(conv(2, 20, 300, 64, 64, 1, 3, 1, 0, 65), Product::forward),
             ContainsSubstring("range of im2col"));
  CHECK(why_not(conv(2, 20, 20, 64, 64, 3, 3, 1, 128), Product::forward).empty());
  CHECK_THAT(why_not(conv(2, 20, 20, 64, 64, 3, 3, 1, 129), Product::forward),
             ContainsSubstring("range of im2col"));
  const cu::ConvPlan copied = cu::plan_conv(conv(64, 9, 9, 32, 64, 3, 3), Product::forward, {.tma = true});
  CHECK_FALSE(copied.by_tma());
  CHECK(cu::options_for(cu::Family::wgmma, {}).tma);
  CHECK_FALSE(cu::options_for(cu::Family::mma, {.tma = true}).tma);
}

TEST_CASE("cuda: blocks of clusters visit every tile once, and none beyond an odd one") {
  for (int m : {1, 2, 7, 9, 16, 23})
    for (int n : {1, 3})
      for (int cluster : {1, 2}) {
        const cu::TileGrid grid{m, n, 2, 3};
        std::map<std::array<int, 4>, int> seen;
        for (std::int64_t i = 0; i < cu::cluster_grid(grid, cluster).blocks() * cluster; ++i) {
          const cu::TileAt at = cu::cluster_tile(grid, cluster, i);
          CHECK(at.m - static_cast<int>(i % cluster) < m);
          if (at.m < m) ++seen[{at.m, at.n, at.which, at.group}];
        }
        CHECK(static_cast<std::int64_t>(seen.size()) == grid.blocks());
        for (const auto& [tile, count] : seen) CHECK(count == 1);
      }
}

TEST_CASE("cuda: turns are every tile of every part once, in the order that a grid would have") {
  for (int m : {1, 7, 9, 23})
    for (int n : {1, 3})
      for (int cluster : {1, 2})
        for (int splits : {1, 4}) {
          const cu::TileGrid grid{m, n, 2, 3};
          const std::int64_t turns = cu::cluster_turns(grid, cluster, splits);
          const std::int64_t tiles = cu::cluster_grid(grid, cluster).blocks();
          REQUIRE(turns == tiles * splits);
          for (int turn = 0; turn < turns; ++turn)
            for (int rank = 0; rank < cluster; ++rank) {
              const cu::TileTurn now = cu::tile_turn(grid, cluster, turn, rank);
              const cu::TileAt block = cu::cluster_tile(grid, cluster, turn % tiles * cluster + rank);
              CHECK(now.split == turn / tiles);
              CHECK((now.at.m == block.m && now.at.n == block.n && now.at.which == block.which &&
                     now.at.group == block.group));
            }
        }
}

TEST_CASE("cuda: stages, results that wait and all else of a block of TMA fit a multiprocessor") {
  const auto fits = []<class Shape>(Shape) {
    using Columns = cu::WaitingColumns<Shape>;
    constexpr int multiprocessor = 228 * 1024, reserved = 1024;
    CHECK(Shape::blocks * (Shape::shared_bytes + reserved) <= multiprocessor);
    CHECK(Shape::m * Columns::n * 4 <= Shape::stage_bytes);
    CHECK(Columns::n * Columns::slices == Shape::n);
    CHECK(Shape::stage_bytes % 1024 == 0);  // whole patterns of the swizzle
    CHECK(Shape::least_stages >= 3);
  };
  fits(cu::TmaTile<128, 256, 64>()), fits(cu::TmaTile<128, 256, 128>());
  fits(cu::TmaTile<128, 128, 64>()), fits(cu::TmaTile<128, 128, 128>());
  fits(cu::TmaTile<128, 64, 64>()), fits(cu::TmaTile<128, 64, 128>());
  fits(cu::TmaTile<64, 64, 64>()), fits(cu::TmaTile<64, 64, 128>());
}

TEST_CASE("cuda: sums that TMA's steps of 128 bytes would overfill are cut") {
  for (const bool a_unsigned : {false, true}) {
    const cu::ConvPlan plan = cu::plan_conv(linear(64, 131072, 64), Product::forward,
                                            {.a_unsigned = a_unsigned, .processors = 1, .tma = true});
    CHECK((plan.by_tma() && plan.gemm.splits > 1));
    CHECK(plan.gemm.split_steps * plan.tma.step_bytes <=
          (a_unsigned ? cu::longest_unsigned_sum : cu::longest_signed_sum));
  }
}

namespace {

/// A map of 64 x 5 x 4 x 3 bytes that is fine but for what a test changes.
struct Encoded {
  cuuint64_t size[4] = {64, 5, 4, 3}, distance[3] = {64, 320, 1280};
  cuuint32_t box[4] = {64, 1, 1, 3}, step[4] = {1, 1, 1, 1}, rank = 4, channels = 64, pixels = 64;
  int lower[2] = {-1, -1}, upper[2] = {-1, -1};
  std::uintptr_t address = 1 << 20;
  CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_64B;
  CUtensorMap map{};

  std::string tiled() {
    const CUresult result =
        cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, reinterpret_cast<void*>(address),
                               size, distance, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                               CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? "" : cuda_host_refused;
  }
  std::string im2col() {
    const CUresult result = cuTensorMapEncodeIm2col(
        &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, reinterpret_cast<void*>(address), size, distance, lower,
        upper, channels, pixels, step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? "" : cuda_host_refused;
  }
};

template <class Change>
void check_both_refuse(const Change& change, const std::string& why) {
  Encoded of;
  change(of);
  CHECK_THAT(of.tiled(), ContainsSubstring(why));
  CHECK_THAT(of.im2col(), ContainsSubstring(why));
}

}  // namespace

TEST_CASE("cuda: the stand-in of the driver refuses what the driver's documentation does") {
  CHECK(Encoded().tiled().empty());
  CHECK(Encoded().im2col().empty());
  check_both_refuse([](Encoded& of) { of.address += 8; }, "aligned to 16");
  check_both_refuse([](Encoded& of) { of.rank = 6; }, "a rank");
  check_both_refuse([](Encoded& of) { of.size[1] = 0; }, "a size of 0");
  check_both_refuse([](Encoded& of) { of.distance[0] = 72, of.distance[1] = 360; }, "multiple of 16");
  check_both_refuse([](Encoded& of) { of.distance[2] = cuuint64_t{1} << 40; }, "below 2^40");
  check_both_refuse([](Encoded& of) { of.distance[1] = 256; }, "does not include");
  check_both_refuse([](Encoded& of) { of.step[2] = 9; }, "element stride");
  check_both_refuse([](Encoded& of) { of.box[0] = of.channels = 72; }, "inner box that is no multiple");
  check_both_refuse([](Encoded& of) { of.box[0] = of.channels = 128; }, "wider than the swizzle");
  Encoded of;
  of.box[3] = 257;
  CHECK_THAT(of.tiled(), ContainsSubstring("above 256"));
  of = {}, of.rank = 2;
  CHECK(of.tiled().empty());
  CHECK_THAT(of.im2col(), ContainsSubstring("3 to 5"));
  of = {}, of.lower[0] = -129;
  CHECK_THAT(of.im2col(), ContainsSubstring("corner"));
  of = {}, of.upper[1] = 128;
  CHECK_THAT(of.im2col(), ContainsSubstring("corner"));
  of = {}, of.upper[0] = -7;
  CHECK_THAT(of.im2col(), ContainsSubstring("without area"));
  of = {}, of.pixels = 1025;
  CHECK_THAT(of.im2col(), ContainsSubstring("above 1024"));
}

TEST_CASE("cuda: the stand-in of the copies refuses what the instructions do not take") {
  Encoded of;
  REQUIRE(of.im2col().empty());
  CHECK(TensorCopy(of.map, 512).im2col({0, 3, 2, 0}, {2, 2}).size() == 64 * 4);
  CHECK_THROWS_WITH(TensorCopy(of.map, 512).im2col({0, 4, 2, 0}, {2, 2}), ContainsSubstring("bounding box"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 512).im2col({0, -2, 2, 0}, {2, 2}), ContainsSubstring("bounding box"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 512).im2col({0, 3, 2, 0}, {2, 256}), ContainsSubstring("offset"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 512).im2col({0, 3, 2, 0}, {-1, 0}), ContainsSubstring("offset"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 512).tiled({0, 0, 0, 0}), ContainsSubstring("another map"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 64), ContainsSubstring("128 bytes"));
  CHECK_THROWS_WITH(TensorCopy(of.map, 128), ContainsSubstring("pattern"));
  CHECK_THROWS_WITH(TensorCopy(CUtensorMap{}, 512), ContainsSubstring("nobody made"));
}

TEST_CASE("cuda: tensor maps are refused by name where the driver has none") {
  const cu::ConvPlan plan = cu::plan_conv(conv(64, 9, 9, 64, 64, 3, 3), Product::forward, {.tma = true});
  CHECK_THROWS_WITH(cu::make_tensor_maps(plan, operand(0) + 8, operand(1)),
                    ContainsSubstring("forward of X 64x9x9x64") && ContainsSubstring("tensor map of a") &&
                        ContainsSubstring("OCTAVO_CUDA_TMA=0"));
  cuda_host_has_tensor_maps = false;
  CHECK_THROWS_WITH(cu::make_tensor_maps(plan, operand(0), operand(1)),
                    ContainsSubstring("the driver has no cuTensorMapEncode"));
  cuda_host_has_tensor_maps = true;
}
