// Lists of weights on a device: ranges, scales and integer copies of many parameters in one launch each.
#include <cmath>

#include "cuda/weights.h"
#include "support/cuda_device_memory.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

using cu::KnownMaxima;
using cu::WeightAxis;
using cu::WeightCopy;

void synchronize() { cu::check(cudaDeviceSynchronize(), "test: synchronize"); }

const std::array layouts = {cu::WeightLayout{5, 9, 3, 1},    cu::WeightLayout{64, 9, 48, 1},
                            cu::WeightLayout{70, 1, 300, 1}, cu::WeightLayout{12, 4, 9, 3},
                            cu::WeightLayout{24, 9, 24, 24}, cu::WeightLayout{130, 25, 130, 130}};

struct Place {
  int k, tap, input, row;  // row: the channel of X
  std::size_t element;
};
template <class Visit>
void each_weight(const cu::WeightLayout& l, const Visit& visit) {
  std::size_t element = 0;
  for (int k = 0; k < l.k; ++k)
    for (int tap = 0; tap < l.taps; ++tap)
      for (int input = 0; input < l.inputs(); ++input)
        visit(Place{k, tap, input, k / l.outputs() * l.inputs() + input, element++});
}

/// A copy in each form of rule, and what it should hold.
struct Expected {
  const std::int8_t* copy;
  Bytes bytes;
  const cu::QuantizeCounts* counts;
  cu::SegmentCounts seen;
};

cu::QuantizeRule rule_of(int form) {
  const int planes = 1 + form % 3;
  const Grid grid = planes == 2 ? Grid::odd : Grid::every;
  const auto qmax = static_cast<float>(largest_integer(planes));
  return {.lowest = -qmax, .qmax = qmax, .planes = planes, .stochastic = form % 2 == 1, .grid = grid};
}

Expected add_copy(DeviceMemory& memory, cu::QuantizeWeights& pass, const std::vector<float>& w,
                  WeightCopy kind, int form) {
  const cu::WeightLayout& l = pass.layout;
  const bool by_channel = form != 4, factors = form % 4 == 2;
  cu::QuantizeRule rule = rule_of(form);
  const auto inverse = draw_floats(std::max(l.k, l.c), 8, 0.5F * rule.qmax, rule.qmax),
             factor = draw_floats(l.k, 9, 0.2F, 1.0F);
  const cu::Draws draws{random_key(5, 6, static_cast<std::uint64_t>(form)), 1000};
  std::int8_t* const copy = memory.put(unwritten_planes(l.bytes(kind), rule.planes));
  auto* const counts = memory.put(std::vector<cu::QuantizeCounts>(1));
  pass.copies[pass.count++] = {
      .kind = kind,
      .factor = factors ? memory.put(factor) : nullptr,
      .scales = {memory.put(inverse), by_channel ? Granularity::channel : Granularity::tensor},
      .rule = rule,
      .copy = copy,
      .counts = form == 3 ? nullptr : counts,
      .draws = memory.put(std::vector<cu::Draws>{draws})};
  rule.key = draws.key, rule.first_index = draws.first_index;
  std::vector<Bytes> planes(static_cast<std::size_t>(rule.planes), Bytes(w.size()));
  cu::SegmentCounts seen;
  each_weight(l, [&](const Place& at) {
    const int row = !by_channel ? 0 : kind == WeightCopy::grad_input ? at.row : at.k;
    const float v = factors ? w[at.element] * factor[static_cast<std::size_t>(at.k)] : w[at.element];
    const cu::QuantizedValue q =
        cu::quantize_value(rule, v, inverse[static_cast<std::size_t>(row)], at.element);
    seen.add(v, q);
    for (int plane = 0; plane < rule.planes; ++plane)
      planes[static_cast<std::size_t>(plane)][at.element] = cu::digit_of(q.integer, plane);
  });
  return {copy, device_weights(l, planes, kind), form == 3 ? nullptr : counts, seen};
}

}  // namespace

TEST_CASE("all copies of all weights in one launch") {
  DeviceMemory memory;
  std::vector<cu::QuantizeWeights> passes;
  std::vector<Expected> all;
  int form = 0;
  for (const bool depthwise : {false, true})
    for (const cu::WeightLayout& l : layouts) {
      if (depthwise && l.inputs() != 1) continue;
      std::vector<float> w = draw_floats(std::int64_t{l.k} * l.taps * l.inputs(), 7, -1.05F, 1.05F);
      w[w.size() / 2] = 9;  // beyond every range
      cu::QuantizeWeights pass{.layout = l, .weights = memory.put(w)};
      for (int i = 0; i <= form % cu::most_copies; ++i) {
        const WeightCopy kind = depthwise             ? WeightCopy::depthwise
                                : (form + i) % 2 == 0 ? WeightCopy::forward
                                                      : WeightCopy::grad_input;
        all.push_back(add_copy(memory, pass, w, kind, (form + i) % 6));
      }
      ++form;
      passes.push_back(pass);
    }
  cu::quantize_weights(memory.list(passes, cu::weight_blocks(passes)), nullptr);
  synchronize();
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("copy " << i);
    CHECK(first_difference(memory.get(all[i].copy, all[i].bytes.size()), all[i].bytes) == none);
    if (all[i].counts == nullptr) continue;
    const QuantizeStats stats = memory.get(all[i].counts, 1)[0].stats();
    CHECK((stats.max_bits == all[i].seen.max_bits && stats.saturated == all[i].seen.saturated));
    CHECK(stats.sum_square == Int128{all[i].seen.sum_square});
  }
  CHECK_THROWS_WITH(cu::quantize_weights({}, nullptr),
                    ContainsSubstring("cuda/quantize_weights of 0 passes"));
}

TEST_CASE("scales of all weights, from what is known of each") {
  DeviceMemory memory;
  std::vector<cu::WeightScales> passes;
  std::vector<std::vector<float>> expected;
  for (const cu::WeightLayout& l : layouts)
    for (const WeightAxis axis : {WeightAxis::tensor, WeightAxis::filter, WeightAxis::input})
      for (const bool factors : {false, true})
        for (const KnownMaxima known :
             {KnownMaxima::none, KnownMaxima::rows, KnownMaxima::columns, KnownMaxima::ranges}) {
          if ((known == KnownMaxima::columns) != (axis == WeightAxis::input) &&
              (known == KnownMaxima::columns || known == KnownMaxima::rows))
            continue;
          const auto w = draw_floats(std::int64_t{l.k} * l.taps * l.inputs(), 11, -1.0F, 1.0F),
                     factor = draw_floats(l.k, 12, 0.1F, 2.0F);
          const auto count = static_cast<std::size_t>(axis == WeightAxis::tensor   ? 1
                                                      : axis == WeightAxis::filter ? l.k
                                                                                   : l.c);
          std::vector<float> ranges(count);
          std::vector<std::uint32_t> rows(static_cast<std::size_t>(l.k));
          each_weight(l, [&](const Place& at) {
            const auto k = static_cast<std::size_t>(at.k);
            float& range = ranges[axis == WeightAxis::tensor   ? 0
                                  : axis == WeightAxis::filter ? k
                                                               : static_cast<std::size_t>(at.row)];
            range = std::max(range, std::fabs(w[at.element] * (factors ? factor[k] : 1.0F)));
            rows[k] = std::max(rows[k], cu::magnitude_of(w[at.element]));
          });
          std::vector<std::uint32_t> columns;
          columns.reserve(ranges.size());
          for (const float range : ranges) columns.push_back(cu::magnitude_of(range));
          if (known == KnownMaxima::ranges) ranges = draw_floats(std::ssize(ranges), 13, 0.5F, 2.0F);
          const std::vector<std::uint32_t> zeros(count), poison(count, 1);
          passes.push_back(
              {.to = {.count = static_cast<int>(count),
                      .scale = memory.put(std::vector<float>(count)),
                      .inverse = memory.put(std::vector<float>(count)),
                      .largest = memory.put(std::vector<std::uint32_t>{0})},
               .layout = l,
               .axis = axis,
               .weights = memory.put(w),
               .factor = factors ? memory.put(factor) : nullptr,
               .known = memory.put(std::vector<KnownMaxima>{known}),
               .ranges = memory.put(ranges),
               .rows =
                   memory.put(known == KnownMaxima::rows ? rows : std::vector<std::uint32_t>(rows.size(), 1)),
               .columns = memory.put(known == KnownMaxima::columns ? columns : poison),
               .max_bits = memory.put(known == KnownMaxima::none ? zeros : poison)});
          expected.push_back(ranges);
        }
  const cu::PassList<cu::WeightScales> list = memory.list(passes, cu::weight_blocks(passes));
  cu::find_ranges(list, nullptr);
  cu::make_scales(list, nullptr);
  synchronize();
  for (std::size_t i = 0; i < passes.size(); ++i) {
    INFO("slot " << i);
    const std::vector<float>& ranges = expected[i];
    const auto scale = memory.get(passes[i].to.scale, ranges.size()),
               inverse = memory.get(passes[i].to.inverse, ranges.size());
    float largest = 0;
    for (std::size_t j = 0; j < ranges.size(); ++j) {
      const RangeScale s = scale_of_range(ranges[j], 127, false, Grid::every);
      REQUIRE((scale[j] == s.scale && inverse[j] == s.inverse));
      largest = std::max(largest, s.scale);
    }
    const KnownMaxima known = memory.get(passes[i].known, 1)[0];
    if (known == KnownMaxima::columns || known == KnownMaxima::ranges)  // nobody has looked
      CHECK(memory.get(passes[i].max_bits, 1)[0] == 1);
    CHECK(memory.get(passes[i].to.largest, 1)[0] == cu::magnitude_of(largest * 127));
  }
  CHECK_THROWS_WITH(cu::find_ranges({}, nullptr), ContainsSubstring("cuda/weight_ranges of 0 passes"));
  CHECK_THROWS_WITH(cu::make_scales(cu::PassList<cu::WeightScales>{}, nullptr),
                    ContainsSubstring("cuda/weight_scales of 0 passes"));
}
