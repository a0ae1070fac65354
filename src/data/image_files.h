// The files of an image_folder: which folder holds a split, its classes, its images. Nothing is decoded.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data.h"

namespace octavo {

/// Many short texts, one after the other: a set may have millions.
class TextList {
 public:
  void add(std::string_view text) {
    text_ += text;
    ends_.push_back(text_.size());
  }
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string text_;
  std::vector<std::size_t> ends_;
};

struct ImageFiles {
  std::filesystem::path folder;      // holds the class folders
  std::vector<std::string> classes;  // their names in byte order: the labels
  std::vector<std::int32_t> labels;  // one per image, ascending
  TextList names;                    // below the class folder, in byte order within a class

  std::filesystem::path path(std::size_t i) const {
    return folder / classes[static_cast<std::size_t>(labels[i])] / names[i];
  }
};

/// Lists request.split below request.path: `train` and `val` (or `valid`, `validation`, `test`) with a folder
/// for each class, or class folders alone, of which the share `holdout` is evaluated: a file's side depends
/// on its path within the set alone. Errors: Errc::data with the absolute paths tried for a set that is
/// missing, has no image in a class, or other classes in one split than in the other.
ImageFiles list_image_files(const DataRequest& request, double holdout);

}  // namespace octavo
