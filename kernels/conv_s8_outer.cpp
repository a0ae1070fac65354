#include "conv_s8_outer.h"

#include <algorithm>
#include <atomic>

namespace octavo::kernels {
namespace {

constexpr std::int64_t width = ConvIsa::widest, most_rows = ConvIsa::most_rows;
constexpr std::int64_t most_steps = 64, least_outputs = 64;  // beyond these it is slower

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }
constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return ceil_div(value, unit) * unit;
}

class OuterGradWeight final : public ConvS8 {
 public:
  OuterGradWeight(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b,
                  std::unique_ptr<ConvS8> general)
      : isa_(isa), shape_(shape), a_(a), b_(b), general_(std::move(general)), steps_(b.plane / 4) {}
  std::int64_t scratch_bytes(const ConvArgs& args) const override {
    return std::max(own_bytes(), general_->scratch_bytes(args));
  }
  void run(const ConvArgs& args, const Parallel& parallel) const override;

 private:
  std::int64_t panels() const { return ceil_div(shape_.c, width); }
  std::int64_t row_tiles() const { return ceil_div(shape_.k, most_rows); }
  // In the scratch: panels of X, rows of G, what each row starts from.
  std::int64_t panel_bytes() const { return steps_ * width * 4; }
  std::int64_t g_at() const { return panels() * panel_bytes(); }
  std::int64_t start_at() const { return g_at() + round_up(shape_.k * b_.plane, 64); }
  std::int64_t own_bytes() const { return start_at() + shape_.k * 4; }

  void gather_panel(const ConvArgs& args, std::int64_t panel) const;
  void gather_rows(const ConvArgs& args, std::int64_t begin, std::int64_t end) const;
  void run_rows(const ConvArgs& args, std::int64_t tile) const;

  const ConvIsa& isa_;
  ConvShape shape_;
  View a_, b_;
  std::unique_ptr<ConvS8> general_;
  std::int64_t steps_;
};

void OuterGradWeight::run(const ConvArgs& args, const Parallel& parallel) const {
  const bool classes = args.sample_class && *args.sample_class != 0;
  if (args.a_planes * args.b_planes > 1 || classes || args.integers) return general_->run(args, parallel);
  const std::int64_t tiles = row_tiles(), tasks = std::min<std::int64_t>(tiles, 64);
  parallel(panels() + tasks, [&](std::int64_t item) {
    if (item < panels()) return gather_panel(args, item);
    const std::int64_t task = item - panels();
    gather_rows(args, shape_.k * task / tasks, shape_.k * (task + 1) / tasks);
  });
  parallel(tasks, [&](std::int64_t task) {
    for (std::int64_t tile = tiles * task / tasks; tile < tiles * (task + 1) / tasks; ++tile)
      run_rows(args, tile);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // orders streaming stores
  });
}

void OuterGradWeight::gather_panel(const ConvArgs& args, std::int64_t panel) const {
  std::int32_t sums[width] = {};
  isa_.pack_rows({.target = static_cast<std::int8_t*>(args.scratch) + panel * panel_bytes(),
                  .step = width * 4,
                  .source = static_cast<const std::int8_t*>(args.a) + panel * width * a_.plane,
                  .row = a_.plane,
                  .inputs = b_.plane,
                  .columns = std::min(width, shape_.c - panel * width),
                  .sums = sums});
}

/// The pixels of an output channel become neighbours; it starts from minus its sum times what stands for 0
/// in X, modulo 2^32.
void OuterGradWeight::gather_rows(const ConvArgs& args, std::int64_t begin, std::int64_t end) const {
  const auto* quads = static_cast<const std::int8_t*>(args.b);
  auto* scratch = static_cast<std::int8_t*>(args.scratch);
  auto* start = reinterpret_cast<std::int32_t*>(scratch + start_at());
  for (std::int64_t k = begin; k < end; ++k) {
    std::int8_t* row = scratch + g_at() + k * b_.plane;
    std::int32_t sum = 0;
    for (std::int64_t pixel = 0; pixel < b_.plane; ++pixel)
      sum += row[pixel] = quads[(pixel / 4 * b_.channel_pitch + k) * 4 + pixel % 4];
    start[k] = -sum * a_.zero;
  }
}

void OuterGradWeight::run_rows(const ConvArgs& args, std::int64_t tile) const {
  const auto* scratch = static_cast<const std::int8_t*>(args.scratch);
  const std::int64_t begin = shape_.k * tile / row_tiles(), end = shape_.k * (tile + 1) / row_tiles();
  ConvOuter outer{.g = scratch + g_at() + begin * b_.plane,
                  .x = nullptr,
                  .steps = steps_,
                  .columns = 0,
                  .start = reinterpret_cast<const std::int32_t*>(scratch + start_at()) + begin,
                  .a_scale = args.a_scale,
                  .b_scale = args.b_scale_vector ? args.b_scale + begin : args.b_scale,
                  .a_scale_vector = args.a_scale_vector,
                  .b_scale_vector = args.b_scale_vector,
                  .out = nullptr,
                  .out_pitch = shape_.c,
                  .accumulate = args.accumulate,
                  .stream = !args.accumulate && shape_.k * shape_.c * 4 > streamed_bytes};
  for (std::int64_t panel = 0; panel < panels(); ++panel) {
    const std::int64_t first = panel * width;
    outer.x = reinterpret_cast<const std::uint8_t*>(scratch) + panel * panel_bytes();
    outer.columns = std::min(width, shape_.c - first);
    if (args.a_scale_vector) outer.a_scale = args.a_scale + first;
    outer.out = args.out.as<float>() + begin * shape_.c + first;
    (*isa_.outer_tiles)[static_cast<std::size_t>(end - begin)](outer);
  }
}

}  // namespace

bool is_outer(const ConvIsa& isa, const ConvShape& shape, const View& b) {
  return isa.outer_tiles && shape.n == 1 && shape.groups == 1 && shape.r * shape.s == 1 &&
         shape.stride_h * shape.stride_w == 1 && shape.c >= width && shape.k >= least_outputs &&
         b.plane / 4 <= most_steps;
}

std::unique_ptr<ConvS8> make_outer(const ConvIsa& isa, const ConvShape& shape, const View& a, const View& b,
                                   std::unique_ptr<ConvS8> general) {
  return std::make_unique<OuterGradWeight>(isa, shape, a, b, std::move(general));
}

}  // namespace octavo::kernels
