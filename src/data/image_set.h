// A classification set that lies in memory: u8 images of one size, one label each.
#pragma once

#include <vector>

#include "octavo/data.h"

namespace octavo {

/// `info` of an image classification set with the fields `image` u8 [h, w, c] and `label` i64 [].
DatasetInfo image_info(std::string name, Split split, std::int64_t h, std::int64_t w, std::int64_t c,
                       std::vector<std::string> class_names);

/// Refuses option names that the set does not know.
void check_options(const DataRequest& request, const std::vector<std::string>& known);

/// Values of options in [low, high], `otherwise` where they are not given; Errc::config for others.
std::int64_t integer_option(const DataRequest& request, const std::string& name, std::int64_t otherwise,
                            std::int64_t low, std::int64_t high);
double number_option(const DataRequest& request, const std::string& name, double otherwise, double low,
                     double high);

/// "class0", "class1", ... for sets whose names are not known.
std::vector<std::string> numbered_classes(std::int64_t classes);

class ImageSet : public Dataset {
 public:
  /// Image i lies at pixels[first + i * bytes of an image], in [h, w, c] order; info.samples counts them.
  ImageSet(DatasetInfo info, std::vector<std::uint8_t> pixels, std::int64_t first,
           std::vector<std::uint8_t> labels);
  const DatasetInfo& info() const override { return info_; }
  void read(std::int64_t index, std::span<void* const> out) const override;

 private:
  DatasetInfo info_;
  std::vector<std::uint8_t> pixels_;
  std::int64_t first_, image_bytes_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace octavo
