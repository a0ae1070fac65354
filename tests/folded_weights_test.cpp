// Weights times a factor per filter, multiplied in the pass that quantizes, against weights multiplied
// before.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>

#include "exec/quantize.h"
#include "support/catch.h"
#include "support/draw.h"

using namespace octavo;

namespace {

std::vector<float> values(std::int64_t count, unsigned seed) {
  return test::normal_floats(count, seed, 0, 0.4f);
}

/// A layer's data gradient and what its packed weights become.
struct DataGradient {
  kernels::ConvShape shape;
  std::unique_ptr<kernels::ConvS8> kernel;
  DataGradient(std::int64_t c, std::int64_t k, std::int64_t taps, std::int64_t groups) {
    shape = {.n = 1, .h = 9, .w = 9, .c = c, .k = k, .r = taps, .s = taps, .ho = 9, .wo = 9};
    shape.pad_h = shape.pad_w = taps / 2;
    shape.groups = groups;
    const auto& candidate = kernels::find_conv_s8(shape, kernels::Product::grad_input);
    kernel = candidate.make(shape, kernels::Product::grad_input,
                            candidate.a_view(shape, kernels::Product::grad_input), {});
  }
  Shape weights() const { return {shape.k, shape.r, shape.s, shape.c / shape.groups}; }
};

struct Packed {
  std::vector<std::uint8_t> bytes;
  Slot slot;
};

/// Where the packed weights of a layer go.
struct PackedMemory {
  std::int64_t size;
  std::vector<std::uint8_t> bytes;
  std::uint8_t* start;
  kernels::PackTarget target;
  PackedMemory(const DataGradient& layer, int bits)
      : size(plane_count(bits) * layer.kernel->packed_stride()),
        bytes(static_cast<std::size_t>(size) + 64),
        start(
            reinterpret_cast<std::uint8_t*>((reinterpret_cast<std::uintptr_t>(bytes.data()) + 63) / 64 * 64)),
        target{layer.kernel.get(), start} {}
  std::vector<std::uint8_t> content() const { return {start, start + size}; }
};

Packed pack(const DataGradient& layer, Slot slot, const std::vector<float>& weights,
            std::span<const std::uint32_t> row_max, const float* factor) {
  Runtime runtime(2, 1);
  PackedMemory memory(layer, slot.format.bits);
  Packed packed{{}, std::move(slot)};
  const WeightCopy copy{&packed.slot, {&memory.target, 1}, factor};
  quantize_weights(runtime, {weights.data(), layer.weights(), layer.shape.groups, row_max}, {&copy, 1});
  packed.bytes = memory.content();
  return packed;
}

std::vector<std::uint32_t> maxima_of_rows(const std::vector<float>& weights, std::int64_t k) {
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(k));
  const std::size_t row = weights.size() / rows.size();
  for (std::size_t i = 0; i < weights.size(); ++i)
    rows[i / row] = std::max(rows[i / row], std::bit_cast<std::uint32_t>(std::fabs(weights[i])));
  return rows;
}

}  // namespace

TEST_CASE("folded weights are those multiplied before: integers, scales and statistics") {
  const auto granularity = GENERATE(ScaleGranularity::tensor, ScaleGranularity::channel);
  const bool by_output = GENERATE(false, true), counted = GENERATE(false, true),
             known = GENERATE(false, true);
  for (const DataGradient& layer : {DataGradient(24, 40, 3, 1), DataGradient(12, 8, 3, 4),
                                    DataGradient(16, 16, 3, 16), DataGradient(70, 33, 1, 1)}) {
    const Shape shape = layer.weights();
    const std::int64_t k = shape[0], row = shape.elements() / k;
    const std::vector<float> weights = values(shape.elements(), 3);
    std::vector<float> factor, folded = weights;
    for (std::int64_t i = 0; i < k; ++i) factor.push_back(std::exp2(-0.37f * static_cast<float>(i % 11)));
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      folded[static_cast<std::size_t>(i)] *= factor[static_cast<std::size_t>(i / row)];
    Slot slot;
    slot.key = "w";
    slot.format.granularity = granularity;
    slot.per_output_channel = by_output;
    slot.wanted.histogram = counted;
    const std::vector<std::uint32_t> rows = maxima_of_rows(weights, k);
    const Packed found =
        pack(layer, slot, weights,
             known ? std::span<const std::uint32_t>(rows) : std::span<const std::uint32_t>(), factor.data());
    const Packed expected = pack(layer, slot, folded, {}, nullptr);
    CAPTURE(k, row, layer.shape.groups, static_cast<int>(granularity), by_output, counted, known);
    CHECK((found.bytes == expected.bytes));
    CHECK(found.slot.scale == expected.slot.scale);
    CHECK((found.slot.stats.sum_square == expected.slot.stats.sum_square));
    CHECK(found.slot.stats.max_bits == expected.slot.stats.max_bits);
    CHECK((found.slot.histogram.counts == expected.slot.histogram.counts));
    CHECK(found.slot.histogram.counts.empty() == !counted);
  }
}

TEST_CASE("known maxima of rows give the scales that a pass would find") {
  const auto granularity = GENERATE(ScaleGranularity::tensor, ScaleGranularity::channel);
  const bool by_output = GENERATE(false, true);
  const DataGradient layer(24, 40, 3, 1);
  const std::vector<float> weights = values(layer.weights().elements(), 4);
  Slot slot;
  slot.key = "w";
  slot.format.granularity = granularity;
  slot.per_output_channel = by_output;
  const Packed looked = pack(layer, slot, weights, {}, nullptr);
  const Packed told = pack(layer, slot, weights, maxima_of_rows(weights, 40), nullptr);
  CHECK((told.bytes == looked.bytes));
  CHECK(told.slot.scale == looked.slot.scale);
}

TEST_CASE("two copies of weights in one pass are those of two, whatever is known of them") {
  const int bits = GENERATE(8, 16), other_bits = GENERATE(8, 16);
  const bool counted = GENERATE(false, true), known = GENERATE(false, true);
  for (const DataGradient& layer : {DataGradient(24, 40, 3, 1), DataGradient(12, 8, 3, 4),
                                    DataGradient(16, 16, 3, 16), DataGradient(2300, 70, 1, 1)}) {
    const Shape shape = layer.weights();
    const std::int64_t k = shape[0], row = shape.elements() / k;
    const std::vector<float> weights = values(shape.elements(), 5);
    const std::vector<std::uint32_t> rows = maxima_of_rows(weights, k);
    std::vector<float> factor;
    for (std::int64_t i = 0; i < k; ++i) factor.push_back(std::exp2(-0.37f * static_cast<float>(i % 11)));
    std::vector<std::uint32_t> columns(static_cast<std::size_t>(shape.back()));
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      std::uint32_t& most = columns[static_cast<std::size_t>(i % shape.back())];
      const float v = weights[static_cast<std::size_t>(i)] * factor[static_cast<std::size_t>(i / row)];
      most = std::max(most, std::bit_cast<std::uint32_t>(std::fabs(v)));
    }
    Slot by_output, by_input;
    by_output.key = "w", by_input.key = "w times factors";
    by_output.format.granularity = by_input.format.granularity = ScaleGranularity::channel;
    by_output.per_output_channel = true;
    by_output.wanted.histogram = counted;
    by_output.format.bits = bits, by_input.format.bits = other_bits;
    const bool told = known && layer.shape.groups == 1;
    const auto row_max = known ? std::span<const std::uint32_t>(rows) : std::span<const std::uint32_t>();
    const std::array<Packed, 2> apart{pack(layer, by_output, weights, row_max, nullptr),
                                      pack(layer, by_input, weights, row_max, factor.data())};
    std::array<Packed, 2> together{Packed{{}, by_output}, Packed{{}, by_input}};
    PackedMemory first(layer, bits), second(layer, other_bits);
    const WeightCopy copies[] = {
        {&together[0].slot, {&first.target, 1}},
        {&together[1].slot,
         {&second.target, 1},
         factor.data(),
         told ? std::span<const std::uint32_t>(columns) : std::span<const std::uint32_t>()}};
    Runtime runtime(2, 1);
    quantize_weights(runtime, {weights.data(), shape, layer.shape.groups, row_max}, copies);
    together[0].bytes = first.content(), together[1].bytes = second.content();
    for (int i = 0; i < 2; ++i) {
      CAPTURE(k, row, layer.shape.groups, bits, other_bits, counted, known, i);
      CHECK((together[i].bytes == apart[i].bytes));
      CHECK(together[i].slot.scale == apart[i].slot.scale);
      CHECK((together[i].slot.stats.sum_square == apart[i].slot.stats.sum_square));
      CHECK((together[i].slot.histogram.counts == apart[i].slot.histogram.counts));
      CHECK(together[i].slot.format.granularity == ScaleGranularity::channel);
    }
  }
}
