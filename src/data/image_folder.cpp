// The set `image_folder`: JPEG, PNG and BMP files, a folder for each class. Images are decoded when they are
// read.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/memory.h"
#include "data/builtin.h"
#include "data/files.h"
#include "data/image_files.h"
#include "data/image_set.h"
#include "data/images/crop.h"
#include "data/images/decode.h"
#include "data/images/orientation.h"
#include "data/images/resize.h"

namespace octavo {
namespace {

struct Options {
  explicit Options(const DataRequest& request)
      : size(integer_option(request, "size", 224, 8, 2048)),
        classes(integer_option(request, "classes", 0, 0, 1 << 20)),
        holdout(number_option(request, "holdout", 0, 0, 0.99)),
        center_crop(number_option(request, "center_crop", 0.875, 0.1, 1)) {
    check_options(request, {"size", "classes", "holdout", "center_crop"});
  }
  std::int64_t size, classes;  // classes: 0 when not given
  double holdout, center_crop;
};

DatasetInfo describe(Split split, std::int64_t size, std::vector<std::string> class_names) {
  DatasetInfo info = image_info("image_folder", split, size, size, 3, std::move(class_names));
  info.crops = true;
  info.mean = {0.485f, 0.456f, 0.406f};  // of ImageNet, as is usual for photographs
  info.std = {0.229f, 0.224f, 0.225f};
  return info;
}

/// By how much a JPEG may be decoded smaller: the region keeps at least twice `side` pixels, so that the
/// filter of `resize` still decides how sharp the result is.
int shrink_for(const Region& region, std::int64_t side) {
  const double least = std::min(region.h, region.w) / static_cast<double>(2 * side);
  return least >= 8 ? 8 : least >= 4 ? 4 : least >= 2 ? 2 : 1;
}

class ImageFolder : public Dataset {
 public:
  ImageFolder(Split split, const Options& options, ImageFiles files)
      : files_(std::move(files)),
        info_(describe(split, options.size, files_.classes)),
        side_(options.size),
        center_crop_(options.center_crop),
        memory_(memory_limit()) {
    info_.samples = static_cast<std::int64_t>(files_.names.size());
  }
  const DatasetInfo& info() const override { return info_; }

  void read(std::int64_t index, std::span<void* const> out) const override {
    read_crop(
        index, [this](std::int64_t h, std::int64_t w) { return central_region(h, w, side_, center_crop_); },
        out);
  }

  void read_crop(std::int64_t index, const ChooseRegion& choose, std::span<void* const> out) const override {
    require(index >= 0 && index < info_.samples, Errc::data, "data set 'image_folder': no sample ", index,
            " among ", info_.samples);
    const auto at = static_cast<std::size_t>(index);
    const std::string name = files_.path(at).string();
    const std::vector<std::uint8_t> bytes = read_file(name);
    Region region;
    Orientation orientation;
    const DecodedImage image = decode_image(bytes, name, memory_, [&](const ImageHeader& header) {
      orientation = Orientation(header.orientation);
      region = chosen(choose, orientation, header);
      return shrink_for(region, side_);
    });
    for (double* value : {&region.y, &region.x, &region.h, &region.w}) *value /= image.shrink;
    auto* pixels = static_cast<std::uint8_t*>(out[0]);
    resize({image.rgb.get(), image.h, image.w, 3}, region, side_, side_, pixels);
    orientation.turn_square(side_, pixels);
    *static_cast<std::int64_t*>(out[1]) = files_.labels[at];
  }

 private:
  static std::vector<std::uint8_t> read_file(const std::string& name) {
    const InputFile file(name);
    require(file.size() <= largest_image_file, Errc::data, name, ": ", bytes_text(file.size()),
            "; an image file may have ", bytes_text(largest_image_file), ": remove it");
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.size()));
    file.read(0, file.size(), bytes.data());
    return bytes;
  }

  /// The region in pixels as stored; `choose` sees the image upright.
  static Region chosen(const ChooseRegion& choose, const Orientation& orientation,
                       const ImageHeader& header) {
    const bool turned = orientation.turned;
    const std::int64_t h = turned ? header.w : header.h, w = turned ? header.h : header.w;
    const Region region = choose(h, w);
    const double slack = 1e-6 * static_cast<double>(h + w);  // of fractions
    require(region.h > 0 && region.w > 0 && region.y >= -slack && region.x >= -slack &&
                region.y + region.h <= static_cast<double>(h) + slack &&
                region.x + region.w <= static_cast<double>(w) + slack,
            Errc::config, "read_crop: the region ", region.h, " x ", region.w, " at (", region.y, ", ",
            region.x, ") lies outside the image of ", h, " x ", w, " pixels");
    return orientation.stored(region, header.h, header.w);
  }

  ImageFiles files_;
  DatasetInfo info_;
  std::int64_t side_;
  double center_crop_;
  std::int64_t memory_;
};

}  // namespace

std::optional<DatasetInfo> image_folder_info(const DataRequest& request) {
  const Options options(request);
  if (options.classes == 0) return {};
  DatasetInfo info = describe(request.split, options.size, numbered_classes(options.classes));
  info.samples = 1 << 20;  // nobody knows yet; enough for the largest batch
  return info;
}

std::shared_ptr<const Dataset> open_image_folder(const DataRequest& request) {
  const Options options(request);
  ImageFiles files = list_image_files(request, options.holdout);
  require(options.classes == 0 || options.classes == std::ssize(files.classes), Errc::config,
          "data.classes: ", options.classes, ", but ", files.folder.string(), " has ", files.classes.size(),
          " class folders");
  return std::make_shared<ImageFolder>(request.split, options, std::move(files));
}

}  // namespace octavo
