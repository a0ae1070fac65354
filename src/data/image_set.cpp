// A classification set that lies in memory.
#include "data/image_set.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/check.h"

namespace octavo {

DatasetInfo image_info(std::string name, Split split, std::int64_t h, std::int64_t w, std::int64_t c,
                       std::vector<std::string> class_names) {
  DatasetInfo info;
  info.name = std::move(name);
  info.split = split;
  info.classes = static_cast<std::int64_t>(class_names.size());
  info.class_names = std::move(class_names);
  info.fields = {{"image", {DType::u8, Shape{h, w, c}}}, {"label", {DType::i64, Shape{}}}};
  return info;
}

void check_options(const DataRequest& request, const std::vector<std::string>& known) {
  for (const auto& [option, value] : request.options) {
    if (std::find(known.begin(), known.end(), option) != known.end()) continue;
    // One key of a configuration stands for train_samples and test_samples.
    const std::string name = option.ends_with("_samples") ? "samples" : option;
    std::string names;
    for (const std::string& one : known) names += (names.empty() ? "" : ", ") + one;
    fail(Errc::config, "data.", name, ": data set '", request.set, "' has no option '", name, "'; it has ",
         names.empty() ? "no options" : names);
  }
}

std::int64_t integer_option(const DataRequest& request, const std::string& name, std::int64_t otherwise,
                            std::int64_t low, std::int64_t high) {
  const auto found = request.options.find(name);
  if (found == request.options.end()) return otherwise;
  char* end = nullptr;
  errno = 0;
  const std::int64_t value = std::strtoll(found->second.c_str(), &end, 10);
  require(errno == 0 && end != found->second.c_str() && *end == '\0' && value >= low && value <= high,
          Errc::config, "data.", name, ": data set '", request.set, "': '", found->second,
          "' is not an integer in ", low, " .. ", high);
  return value;
}

double number_option(const DataRequest& request, const std::string& name, double otherwise, double low,
                     double high) {
  const auto found = request.options.find(name);
  if (found == request.options.end()) return otherwise;
  char* end = nullptr;
  const double value = std::strtod(found->second.c_str(), &end);
  // Negated, so that NaN is refused too.
  require(end != found->second.c_str() && *end == '\0' && value >= low && value <= high, Errc::config,
          "data.", name, ": data set '", request.set, "': '", found->second, "' is not a number in ", low,
          " .. ", high);
  return value;
}

std::vector<std::string> numbered_classes(std::int64_t classes) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < classes; ++i) names.push_back("class" + std::to_string(i));
  return names;
}

ImageSet::ImageSet(DatasetInfo info, std::vector<std::uint8_t> pixels, std::int64_t first,
                   std::vector<std::uint8_t> labels)
    : info_(std::move(info)),
      pixels_(std::move(pixels)),
      first_(first),
      image_bytes_(info_.field("image").type.bytes()),
      labels_(std::move(labels)) {
  info_.samples = static_cast<std::int64_t>(labels_.size());
}

void ImageSet::read(std::int64_t index, std::span<void* const> out) const {
  require(index >= 0 && index < info_.samples, Errc::data, "data set '", info_.name, "': no sample ", index,
          " among ", info_.samples);
  std::memcpy(out[0], pixels_.data() + first_ + index * image_bytes_, static_cast<std::size_t>(image_bytes_));
  const std::int64_t label = labels_[static_cast<std::size_t>(index)];
  std::memcpy(out[1], &label, sizeof label);
}

}  // namespace octavo
