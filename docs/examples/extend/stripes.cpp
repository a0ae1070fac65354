// The data set stripes: 16x16 grey images of noisy stripes, level, upright or in one of two slants.
#include <octavo/data.h>

#include <cmath>

#include "parts.h"

namespace {

constexpr std::int64_t side = 16;

// SplitMix64 (Steele et al. 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

class Stripes : public octavo::Dataset {
 public:
  explicit Stripes(const octavo::DataRequest& request)
      : seed_(mix(request.seed) + (request.split == octavo::Split::test)) {
    info_.name = "stripes";
    info_.split = request.split;
    info_.procedural = true;
    info_.samples = request.split == octavo::Split::train ? 1024 : 256;
    info_.class_names = {"level", "upright", "rising", "falling"};
    info_.classes = 4;
    info_.fields = {{"image", {octavo::DType::u8, {side, side, 1}}}, {"label", {octavo::DType::i64, {}}}};
    info_.mean = {0.5f};
    info_.std = {0.25f};
  }
  const octavo::DatasetInfo& info() const override { return info_; }

  void read(std::int64_t index, std::span<void* const> out) const override {
    auto* pixels = static_cast<std::uint8_t*>(out[0]);
    const std::int64_t kind = index % 4;
    const std::uint64_t random = mix(seed_ ^ mix(static_cast<std::uint64_t>(index)));
    const auto phase = static_cast<double>(random % 8);
    for (std::int64_t y = 0; y < side; ++y)
      for (std::int64_t x = 0; x < side; ++x) {
        const std::int64_t position[] = {y, x, x + y, x - y};
        const double wave = std::sin((static_cast<double>(position[kind]) + phase) * 0.785);
        const auto noise =
            static_cast<double>(mix(random + static_cast<std::uint64_t>(y * side + x)) % 101) - 50;
        pixels[y * side + x] = static_cast<std::uint8_t>(127 + 70 * wave + noise);
      }
    *static_cast<std::int64_t*>(out[1]) = kind;
  }

 private:
  octavo::DatasetInfo info_;
  std::uint64_t seed_;
};

}  // namespace

void register_stripes() {
  octavo::register_dataset(
      "stripes", [](const octavo::DataRequest& request) { return std::make_shared<Stripes>(request); },
      "noisy stripes in four directions");
}
