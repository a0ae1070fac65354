// The procedural set `shapes`: ten shapes at any place, tilted up to 30 degrees, in noise and clutter. No
// files.
#include "core/check.h"
#include "data/builtin.h"
#include "data/image_set.h"
#include "data/shapes_draw.h"
#include "data/streams.h"

namespace octavo {

namespace {

class Shapes : public Dataset {
 public:
  explicit Shapes(const DataRequest& request)
      : seed_(request.seed), info_(shapes_info(request)), side_(info_.field("image").type.shape[0]) {}
  const DatasetInfo& info() const override { return info_; }

  /// Draws the image anew: that takes less time than a training step needs per image, and no memory.
  void read(std::int64_t index, std::span<void* const> out) const override {
    require(index >= 0 && index < info_.samples, Errc::data, "data set 'shapes': no sample ", index,
            " among ", info_.samples);
    const std::int64_t kind = index % shape_kinds;
    const auto split = static_cast<std::uint64_t>(info_.split);
    draw_shape(style_, stream_key(Stream::shapes, seed_, split, static_cast<std::uint64_t>(index)),
               static_cast<int>(kind), side_, static_cast<std::uint8_t*>(out[0]));
    *static_cast<std::int64_t*>(out[1]) = kind;
  }

 private:
  std::uint64_t seed_;
  DatasetInfo info_;
  std::int64_t side_;
  ShapesStyle style_;
};

}  // namespace

DatasetInfo shapes_info(const DataRequest& request) {
  check_options(request, {"size", "train_samples", "test_samples"});
  const std::int64_t side = integer_option(request, "size", 32, 8, 512);
  const std::int64_t train = integer_option(request, "train_samples", 10000, 1, 1 << 30);
  const std::int64_t test = integer_option(request, "test_samples", 2000, 1, 1 << 30);
  DatasetInfo info =
      image_info("shapes", request.split, side, side, 3, {shape_names, shape_names + shape_kinds});
  info.procedural = true;
  info.samples = request.split == Split::train ? train : test;
  info.mean = {0.50f, 0.50f, 0.50f};
  info.std = {0.193f, 0.193f, 0.193f};
  return info;
}

std::shared_ptr<const Dataset> open_shapes(const DataRequest& request) {
  return std::make_shared<Shapes>(request);
}

}  // namespace octavo
