// Image transforms by name, and the pipeline from a stored u8 image to a normalized float image.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "octavo/data.h"
#include "random.h"

namespace octavo {

struct ImageSize {
  std::int64_t h = 0, w = 0, c = 0;
  std::int64_t bytes() const { return h * w * c; }
};

/// One line of transform_list.inc: u8 [h, w, c] to the same size, decided by the draws of `key` from
/// `counter` on.
struct Transform {
  const char* name;
  void (*apply)(const ImageSize& size, kernels::RandomKey key, std::uint32_t counter, const std::uint8_t* in,
                std::uint8_t* out);
  /// A crop says what it keeps of an image of any size, so that a set can cut that out of what it stores;
  /// others: null.
  Region (*region)(std::int64_t h, std::int64_t w, kernels::RandomKey key, std::uint32_t counter);
  const char* help;
};
std::span<const Transform> transforms();

/// Augments and normalizes: out = (pixel / 255 - mean[channel]) / std[channel].
class ImagePipeline {
 public:
  /// Errc::config for an unknown transform or a crop out of its place; mean and std may be absent (0 and 1).
  ImagePipeline(const DatasetInfo& info, const std::vector<std::string>& augment);

  const ImageSize& size() const { return size_; }
  /// Whether the first transform is a crop that the set makes itself, out of the image it stores.
  bool crops_stored() const { return stored_crop_ != nullptr; }
  Region stored_region(std::uint64_t seed, std::int64_t epoch, std::int64_t sample, std::int64_t h,
                       std::int64_t w) const;
  /// The augmented image, in one of `image` and `scratch`, which hold size().bytes() each and are
  /// overwritten. Depends on (seed, epoch, sample) alone.
  const std::uint8_t* augment(std::uint64_t seed, std::int64_t epoch, std::int64_t sample,
                              std::uint8_t* image, std::uint8_t* scratch) const;
  void normalize(const std::uint8_t* image, float* out) const;
  /// out = pixel * scale + shift, by channel.
  std::span<const float> scale() const { return {scale_.data(), static_cast<std::size_t>(size_.c)}; }
  std::span<const float> shift() const { return {shift_.data(), static_cast<std::size_t>(size_.c)}; }

 private:
  void take_stored_crop(const DatasetInfo& info);

  ImageSize size_;
  const Transform* stored_crop_ = nullptr;
  std::vector<const Transform*> augment_;
  std::vector<float> scale_, shift_;  // one image row each: the channels repeated
};

}  // namespace octavo
