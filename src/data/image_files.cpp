// The files of an image_folder. Names are taken in byte order, so that labels and samples have the same order
// everywhere; names that begin with a dot are left out.
#include "data/image_files.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/check.h"
#include "core/log.h"
#include "data/files.h"
#include "random.h"

namespace octavo {
namespace fs = std::filesystem;

namespace {

constexpr const char* endings = ".jpg, .jpeg, .png or .bmp";
constexpr const char* usage =
    "train/CLASS/*.jpg and val/CLASS/*.jpg, or class folders alone and data.holdout=0.1 to evaluate a tenth";

bool is_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static constexpr std::array<std::string_view, 4> known{".jpg", ".jpeg", ".png", ".bmp"};
  return std::find(known.begin(), known.end(), ending) != known.end();
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Names of the folders in `folder`, links to folders too, in byte order.
std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (!is_hidden(entry->path()) && is_folder(entry->path()))
      names.push_back(entry->path().filename().string());
  require(!error, Errc::data, folder.string(), ": cannot be listed: ", error.message());
  std::sort(names.begin(), names.end());
  return names;
}

/// Where the two splits lie; `held_out` when both lie in one folder.
struct Layout {
  fs::path train, test;
  bool held_out = false;
};

Layout find_layout(const fs::path& root, double holdout) {
  Layout layout{root, root, true};
  if (is_folder(root / "train") && !folders_in(root / "train").empty()) {
    layout.train = layout.test = root / "train";
    for (const char* name : {"val", "valid", "validation", "test"})
      if (layout.held_out && is_folder(root / name)) {
        layout.test = root / name;
        layout.held_out = false;
      }
  }
  require(layout.held_out || holdout == 0, Errc::config, "data.holdout: ", layout.test.string(),
          " is there to be evaluated; leave data.holdout out");
  require(!layout.held_out || holdout > 0, Errc::data, "data set 'image_folder': ", root.string(),
          " does not say what to evaluate; expected ", usage);
  return layout;
}

void require_same_classes(const std::vector<std::string>& classes, const Layout& layout) {
  const std::vector<std::string> trained = folders_in(layout.train);
  std::vector<std::string> others;
  std::set_symmetric_difference(classes.begin(), classes.end(), trained.begin(), trained.end(),
                                std::back_inserter(others));
  if (others.empty()) return;
  const bool only_train = std::binary_search(trained.begin(), trained.end(), others.front());
  fail(Errc::data, "data set 'image_folder': class folder '", others.front(), "' is in ",
       (only_train ? layout.train : layout.test).string(), " but not in ",
       (only_train ? layout.test : layout.train).string(), " (", others.size(),
       " such folders); both need the same classes");
}

class Listing {
 public:
  Listing(ImageFiles& files, Split split, double holdout) : files_(files), split_(split), holdout_(holdout) {}

  void run() {
    files_.classes = folders_in(files_.folder);
    require(!files_.classes.empty(), Errc::data, "data set 'image_folder': ", files_.folder.string(),
            " has no class folders; expected ", usage);
    for (std::size_t label = 0; label < files_.classes.size(); ++label)
      add_class(static_cast<std::int32_t>(label));
    if (others_ > 0)
      logger(LogArea::data)
          .warn("image_folder: {}: {} files are left out, as their names do not end in {}; one is {}",
                files_.folder.string(), others_, endings, other_);
  }

 private:
  void add_class(std::int32_t label) {
    const fs::path folder = files_.folder / files_.classes[static_cast<std::size_t>(label)];
    const std::size_t others_before = others_;
    std::vector<std::string> names = images_below(folder);
    require(!names.empty(), Errc::data, "data set 'image_folder': class folder ", folder.string(),
            " holds no image (", endings, "); ", others_ - others_before,
            " other files; remove the folder or fill it");
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (!is_wanted(files_.classes[static_cast<std::size_t>(label)] + "/" + name)) continue;
      files_.labels.push_back(label);
      files_.names.add(name);
    }
  }

  /// Folders below count as well; links to folders do not, as they may lead in a circle.
  std::vector<std::string> images_below(const fs::path& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code gone;
      const bool inner = entry->is_directory(gone);
      if (is_hidden(entry->path())) {
        if (inner) entry.disable_recursion_pending();
      } else if (is_image_name(entry->path()) && entry->is_regular_file(gone)) {
        names.push_back(entry->path().lexically_relative(folder).string());
      } else if (!inner) {
        if (others_++ == 0) other_ = entry->path().string();
      }
    }
    require(!error, Errc::data, folder.string(), ": cannot be listed: ", error.message());
    return names;
  }

  bool is_wanted(const std::string& name) const {
    if (holdout_ == 0) return true;
    std::uint64_t hash = 0;
    for (const char c : name) hash = kernels::mix64(hash ^ static_cast<unsigned char>(c));
    const bool evaluated = static_cast<double>(hash >> 11) * 0x1p-53 < holdout_;
    return evaluated == (split_ == Split::test);
  }

  ImageFiles& files_;
  Split split_;
  double holdout_;
  std::size_t others_ = 0;
  std::string other_;
};

}  // namespace

ImageFiles list_image_files(const DataRequest& request, double holdout) {
  const fs::path root = find_folder(request, std::string("a folder with ") + usage);
  const Layout layout = find_layout(root, holdout);
  ImageFiles files;
  files.folder = request.split == Split::train ? layout.train : layout.test;
  Listing(files, request.split, layout.held_out ? holdout : 0).run();
  require(files.names.size() > 0, Errc::data, "data set 'image_folder': data.holdout=", holdout,
          " leaves no image of ", files.folder.string(), " to ",
          request.split == Split::train ? "train on" : "evaluate", "; choose another share");
  if (request.split == Split::test && !layout.held_out) require_same_classes(files.classes, layout);
  return files;
}

}  // namespace octavo
