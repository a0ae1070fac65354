// MNIST and Fashion-MNIST in IDX files (LeCun, http://yann.lecun.com/exdb/mnist), plain or .gz: a big-endian
// header (magic, sizes), then bytes.
#include "core/check.h"
#include "data/builtin.h"
#include "data/files.h"
#include "data/image_set.h"

namespace octavo {

namespace {

constexpr std::int64_t largest_side = 16384;

/// Bytes and sizes of one IDX file of unsigned bytes.
struct Idx {
  std::vector<std::int64_t> sizes;
  std::vector<std::uint8_t> bytes;  // with the header
  std::int64_t first = 0;           // of the elements
};

std::uint32_t big_endian(const std::vector<std::uint8_t>& bytes, std::int64_t offset) {
  std::uint32_t value = 0;
  for (std::int64_t i = 0; i < 4; ++i) value = value << 8 | bytes[static_cast<std::size_t>(offset + i)];
  return value;
}

/// Reads the header first, so that nothing is allocated that the file cannot hold.
Idx read_idx(const std::filesystem::path& path, int rank) {
  const std::string name = path.string();
  Idx idx;
  idx.first = 4 + 4 * rank;
  const std::vector<std::uint8_t> header = read_bytes(path, idx.first);
  require(static_cast<std::int64_t>(header.size()) == idx.first, Errc::data, name, ": byte ", header.size(),
          ": the file ends in its header of ", idx.first, " bytes; fetch it again");
  const std::uint32_t magic = big_endian(header, 0), wanted = 0x800u + static_cast<std::uint32_t>(rank);
  require(magic == wanted, Errc::data, name, ": byte 0: magic number ", magic, ", expected ", wanted,
          " (IDX, unsigned bytes, rank ", rank, ")");
  std::int64_t bytes = 1;
  for (int axis = 0; axis < rank; ++axis) {
    const std::int64_t size = big_endian(header, 4 + 4 * axis);
    require(size > 0 && (axis == 0 || size <= largest_side), Errc::data, name, ": byte ", 4 + 4 * axis,
            ": size ", size, " of axis ", axis, " is out of range");
    idx.sizes.push_back(size);
    bytes *= size;  // below 2^32 * 2^14 * 2^14
  }
  const std::int64_t most = largest_content(path) - idx.first;
  require(bytes <= most, Errc::data, name, ": the header promises ", idx.sizes[0], " records of ",
          bytes / idx.sizes[0], " bytes, the file holds at most ", most / (bytes / idx.sizes[0]),
          "; it is cut off or damaged: fetch it again");
  idx.bytes = read_bytes(path, idx.first + bytes + 1);
  const std::int64_t found = static_cast<std::int64_t>(idx.bytes.size()) - idx.first;
  require(found == bytes, Errc::data, name, ": byte ", idx.bytes.size(), ": ",
          found < bytes ? "cut off" : "goes on", found < bytes ? " in record " : " after record ",
          found / (bytes / idx.sizes[0]) - (found > bytes), " of ", idx.sizes[0], "; fetch it again");
  return idx;
}

std::shared_ptr<const Dataset> open_idx(const DataRequest& request, DataFiles wanted, DatasetInfo info) {
  check_options(request, {});
  const std::string prefix = request.split == Split::train ? "train" : "t10k";
  wanted.set = info.name;
  wanted.names = {prefix + "-images-idx3-ubyte", prefix + "-labels-idx1-ubyte"};
  wanted.gzip = true;
  const auto paths = find_files(request, wanted);
  Idx images = read_idx(paths[0], 3);
  Idx labels = read_idx(paths[1], 1);
  require(images.sizes[0] == labels.sizes[0], Errc::data, paths[0].string(), " holds ", images.sizes[0],
          " records, ", paths[1].string(), " ", labels.sizes[0], ": they belong to different sets");
  labels.bytes.erase(labels.bytes.begin(), labels.bytes.begin() + labels.first);
  for (std::size_t i = 0; i < labels.bytes.size(); ++i)
    require(labels.bytes[i] < info.classes, Errc::data, paths[1].string(), ": byte ",
            static_cast<std::size_t>(labels.first) + i, ": record ", i, ": label ", int{labels.bytes[i]},
            " is not below ", info.classes, "; fetch the file again");
  info.fields[0].type.shape = Shape{images.sizes[1], images.sizes[2], 1};
  return std::make_shared<ImageSet>(std::move(info), std::move(images.bytes), images.first,
                                    std::move(labels.bytes));
}

std::int64_t published_samples(Split split) { return split == Split::train ? 60000 : 10000; }

}  // namespace

DatasetInfo mnist_info(const DataRequest& request) {
  DatasetInfo info =
      image_info("mnist", request.split, 28, 28, 1, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  info.samples = published_samples(request.split);
  info.mean = {0.1307f};
  info.std = {0.3081f};
  return info;
}

DatasetInfo fashion_mnist_info(const DataRequest& request) {
  DatasetInfo info = image_info("fashion_mnist", request.split, 28, 28, 1,
                                {"T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt",
                                 "sneaker", "bag", "ankle boot"});
  info.samples = published_samples(request.split);
  info.mean = {0.2860f};
  info.std = {0.3530f};
  return info;
}

std::shared_ptr<const Dataset> open_mnist(const DataRequest& request) {
  DataFiles wanted;
  wanted.folders = {"", "mnist", "MNIST/raw"};
  wanted.source = "the four files of http://yann.lecun.com/exdb/mnist";
  return open_idx(request, std::move(wanted), mnist_info(request));
}

std::shared_ptr<const Dataset> open_fashion_mnist(const DataRequest& request) {
  DataFiles wanted;
  wanted.folders = {"", "fashion-mnist", "fashion_mnist", "FashionMNIST/raw"};
  wanted.source = "the four files of https://github.com/zalandoresearch/fashion-mnist";
  return open_idx(request, std::move(wanted), fashion_mnist_info(request));
}

}  // namespace octavo
