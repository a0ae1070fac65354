// Data sets: named fields per sample, opened by name; an embedder registers its own at run time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/tensor.h"

namespace octavo {

enum class Split : std::uint8_t { train, test };
OCTAVO_API const char* split_name(Split split);

/// One value of a sample. Classification: `image` u8 [H, W, C] and `label` i64 [].
struct Field {
  std::string name;
  TensorType type;  ///< of one sample; a batch puts N in front
};

struct DatasetInfo {
  std::string name;
  Split split = Split::train;
  bool procedural = false;  ///< drawn by the library, not read: labelled as such in every result
  std::int64_t samples = 0;
  std::int64_t classes = 0;  ///< 0 where labels are no classes
  std::vector<std::string> class_names;
  std::vector<Field> fields;
  std::vector<float> mean, std;  ///< of `image` / 255, per channel, the same for both splits
  bool crops = false;  ///< stored images have sizes of their own: read_crop says what of them to take

  /// The field called `name`; Errc::config with the names there are.
  OCTAVO_API const Field& field(const std::string& name) const;
};

/// A rectangle in pixels of an image; fractions are allowed.
struct Region {
  double y = 0, x = 0, h = 0, w = 0;
};

/// Chooses what of an upright image of h x w pixels becomes the sample; has to lie within the image.
using ChooseRegion = std::function<Region(std::int64_t h, std::int64_t w)>;

/// Samples [0, info().samples), the same at every read. All members may be called from several threads at
/// once.
class OCTAVO_API Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const DatasetInfo& info() const = 0;
  /// Writes sample `index` densely to out[i], of info().fields[i].type.bytes() bytes. Errors: Errc::data,
  /// naming the sample.
  virtual void read(std::int64_t index, std::span<void* const> out) const = 0;
  /// Where info().crops: as read, but `image` is the chosen region, scaled; read itself takes a central one.
  virtual void read_crop(std::int64_t index, const ChooseRegion& choose, std::span<void* const> out) const;
};

/// What a configuration asks for.
struct DataRequest {
  std::string set;  ///< name of a built-in or registered set
  std::string path;
  std::vector<std::string>
      folders;  ///< a relative path is tried in these, in order; none: the working folder
  Split split = Split::train;
  double fraction = 1;     ///< of the samples, in (0, 1]: a subset drawn from `seed`, at least one sample
  std::uint64_t seed = 1;  ///< of the subset and of procedural sets
  std::map<std::string, std::string> options;  ///< of that set; an unknown one is Errc::config
};

/// Errc::config: unknown set or option, fraction out of range. Errc::data: files missing (with the absolute
/// paths tried, how to get them and the override that trains without) or damaged (with byte offset and
/// record).
OCTAVO_API std::shared_ptr<const Dataset> open_dataset(const DataRequest& request);

/// Opens a set for request.split; `fraction` is taken care of by open_dataset. May be called from any thread.
using DatasetFactory = std::function<std::shared_ptr<const Dataset>(const DataRequest& request)>;

/// Adds a set under a name that is still free (else Errc::config); `help` is one line for `octavo list`.
OCTAVO_API void register_dataset(const std::string& name, DatasetFactory factory, const std::string& help);

struct DatasetListing {
  std::string name, help;
};
OCTAVO_API std::vector<DatasetListing> list_datasets();  ///< built-in sets, then registered ones by name

}  // namespace octavo
