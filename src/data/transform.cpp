// Image transforms and the pipeline that applies them.
#include "data/transform.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "data/images/crop.h"
#include "data/images/resize.h"
#include "data/streams.h"

namespace octavo {

namespace {

constexpr std::uint32_t draws_per_transform = 16;

void pad_crop(const ImageSize& size, kernels::RandomKey key, std::uint32_t counter, const std::uint8_t* in,
              std::uint8_t* out) {
  constexpr std::int64_t pad = 4;
  const std::int64_t dy = static_cast<std::int64_t>(random_below(key, counter, 2 * pad + 1)) - pad;
  const std::int64_t dx = static_cast<std::int64_t>(random_below(key, counter + 1, 2 * pad + 1)) - pad;
  const std::int64_t row = size.w * size.c;
  const std::int64_t first = std::clamp<std::int64_t>(-dx, 0, size.w) * size.c;
  const std::int64_t end = std::clamp<std::int64_t>(size.w - dx, 0, size.w) * size.c;
  for (std::int64_t y = 0; y < size.h; ++y, out += row) {
    const std::int64_t from = y + dy;
    if (from < 0 || from >= size.h || first >= end) {
      std::memset(out, 0, static_cast<std::size_t>(row));
      continue;
    }
    std::memset(out, 0, static_cast<std::size_t>(first));
    std::memcpy(out + first, in + from * row + first + dx * size.c, static_cast<std::size_t>(end - first));
    std::memset(out + end, 0, static_cast<std::size_t>(row - end));
  }
}

void flip(const ImageSize& size, kernels::RandomKey key, std::uint32_t counter, const std::uint8_t* in,
          std::uint8_t* out) {
  if (random_below(key, counter, 2) == 0) {
    std::memcpy(out, in, static_cast<std::size_t>(size.bytes()));
    return;
  }
  const std::int64_t row = size.w * size.c;
  for (std::int64_t y = 0; y < size.h; ++y, in += row, out += row)
    for (std::int64_t x = 0; x < size.w; ++x)
      for (std::int64_t c = 0; c < size.c; ++c) out[x * size.c + c] = in[(size.w - 1 - x) * size.c + c];
}

/// Of a set whose images have one size; others cut the region out of what they store.
void random_resized_crop(const ImageSize& size, kernels::RandomKey key, std::uint32_t counter,
                         const std::uint8_t* in, std::uint8_t* out) {
  resize({in, size.h, size.w, size.c}, random_region(size.h, size.w, key, counter), size.h, size.w, out);
}

constexpr Transform list[] = {
#define OCTAVO_TRANSFORM(name, function, region, help) {name, function, region, help},
#include "data/transform_list.inc"
#undef OCTAVO_TRANSFORM
};

const Transform* find_transform(const std::string& name) {
  std::string names;
  for (const Transform& transform : list) {
    if (name == transform.name) return &transform;
    names += (names.empty() ? "" : ", ") + std::string(transform.name);
  }
  fail(Errc::config, "data.augment: unknown transform '", name, "'; known: ", names);
}

kernels::RandomKey augment_key(std::uint64_t seed, std::int64_t epoch, std::int64_t sample) {
  return stream_key(Stream::augment, seed, static_cast<std::uint64_t>(epoch),
                    static_cast<std::uint64_t>(sample));
}

std::uint32_t first_draw(const Transform& transform) {
  return static_cast<std::uint32_t>(&transform - list) * draws_per_transform;
}

}  // namespace

std::span<const Transform> transforms() { return list; }

ImagePipeline::ImagePipeline(const DatasetInfo& info, const std::vector<std::string>& augment) {
  const TensorType& type = info.field("image").type;
  require(type.dtype == DType::u8 && type.shape.rank() == 3 && type.shape.elements() > 0, Errc::config,
          "data set '", info.name, "': `image` is ", dtype_name(type.dtype), " ", type.shape.str(),
          ", expected u8 HxWxC");
  size_ = {type.shape[0], type.shape[1], type.shape[2]};
  for (const std::string& name : augment) augment_.push_back(find_transform(name));
  if (info.crops) take_stored_crop(info);
  const auto channels = static_cast<std::size_t>(size_.c);
  for (const auto* values : {&info.mean, &info.std})
    require(values->empty() || values->size() == channels, Errc::config, "data set '", info.name,
            "': ", values->size(), " values of mean or std for ", channels, " channels");
  for (float deviation : info.std)
    require(deviation > 0, Errc::config, "data set '", info.name, "': std ", deviation, " is not above 0");
  for (std::size_t i = 0; i < static_cast<std::size_t>(size_.w) * channels; ++i) {
    const float mean = info.mean.empty() ? 0.0f : info.mean[i % channels];
    const float inverse = 1.0f / (info.std.empty() ? 1.0f : info.std[i % channels]);
    scale_.push_back(inverse / 255.0f);
    shift_.push_back(-mean * inverse);
  }
}

void ImagePipeline::take_stored_crop(const DatasetInfo& info) {
  const auto is_crop = [](const Transform* transform) { return transform->region != nullptr; };
  if (!augment_.empty() && is_crop(augment_.front())) {
    stored_crop_ = augment_.front();
    augment_.erase(augment_.begin());
  }
  const auto later = std::find_if(augment_.begin(), augment_.end(), is_crop);
  if (later != augment_.end())
    fail(Errc::config, "data.augment: data set '", info.name, "' takes ", (*later)->name,
         " once, as the first of the list: it decides what of a stored image is decoded");
}

Region ImagePipeline::stored_region(std::uint64_t seed, std::int64_t epoch, std::int64_t sample,
                                    std::int64_t h, std::int64_t w) const {
  return stored_crop_->region(h, w, augment_key(seed, epoch, sample), first_draw(*stored_crop_));
}

const std::uint8_t* ImagePipeline::augment(std::uint64_t seed, std::int64_t epoch, std::int64_t sample,
                                           std::uint8_t* image, std::uint8_t* scratch) const {
  const kernels::RandomKey key = augment_key(seed, epoch, sample);
  for (const Transform* transform : augment_) {
    transform->apply(size_, key, first_draw(*transform), image, scratch);
    std::swap(image, scratch);
  }
  return image;
}

void ImagePipeline::normalize(const std::uint8_t* image, float* out) const {
  const std::size_t row = scale_.size();
  for (std::int64_t y = 0; y < size_.h; ++y, image += row, out += row)
    for (std::size_t i = 0; i < row; ++i) out[i] = static_cast<float>(image[i]) * scale_[i] + shift_[i];
}

}  // namespace octavo
