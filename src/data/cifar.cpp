// CIFAR-10 and CIFAR-100, binary version (Krizhevsky, "Learning Multiple Layers of Features from Tiny
// Images", 2009): records of label bytes and 3,072 pixel bytes, 1,024 per colour plane.
#include "core/check.h"
#include "data/builtin.h"
#include "data/files.h"
#include "data/image_set.h"

namespace octavo {

namespace {

constexpr std::int64_t side = 32, channels = 3, plane = side * side, image_bytes = plane * channels;

/// What tells the two sets apart on disk.
struct Format {
  std::int64_t label_bytes;  // the last of them is the label
  std::int64_t classes;
};

struct Records {
  std::vector<std::uint8_t> pixels, labels;
};

/// Planes to [h, w, c].
void interleave(const std::uint8_t* planes, std::uint8_t* out) {
  for (std::int64_t p = 0; p < plane; ++p)
    for (std::int64_t c = 0; c < channels; ++c) out[p * channels + c] = planes[c * plane + p];
}

void append_records(const InputFile& file, const Format& format, Records& records) {
  const std::int64_t record = format.label_bytes + image_bytes;
  const std::int64_t count = file.size() / record;
  const std::string name = file.path().string();
  require(count > 0, Errc::data, name, ": ", file.size(), " bytes hold no record of ", record, " bytes");
  require(file.size() % record == 0, Errc::data, name, ": byte ", count * record, ": record ", count,
          " is cut off: ", file.size(), " bytes are no multiple of ", record, "; fetch the file again");
  const auto before = static_cast<std::int64_t>(records.labels.size());
  records.labels.reserve(static_cast<std::size_t>(before + count));
  records.pixels.resize(static_cast<std::size_t>((before + count) * image_bytes));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(record));
  for (std::int64_t i = 0; i < count; ++i) {
    file.read(i * record, record, bytes.data());
    const std::uint8_t label = bytes[static_cast<std::size_t>(format.label_bytes - 1)];
    require(label < format.classes, Errc::data, name, ": byte ", i * record + format.label_bytes - 1,
            ": record ", i, ": label ", int{label}, " is not below ", format.classes,
            "; fetch the file again");
    records.labels.push_back(label);
    interleave(bytes.data() + format.label_bytes, records.pixels.data() + (before + i) * image_bytes);
  }
}

Records read_records(const DataRequest& request, const DataFiles& wanted, const Format& format) {
  Records records;
  for (const auto& path : find_files(request, wanted)) append_records(InputFile(path), format, records);
  return records;
}

std::int64_t published_samples(Split split) { return split == Split::train ? 50000 : 10000; }

std::shared_ptr<const Dataset> image_set(DatasetInfo info, Records records) {
  return std::make_shared<ImageSet>(std::move(info), std::move(records.pixels), 0, std::move(records.labels));
}

}  // namespace

DatasetInfo cifar10_info(const DataRequest& request) {
  DatasetInfo info =
      image_info("cifar10", request.split, side, side, channels,
                 {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"});
  info.samples = published_samples(request.split);
  info.mean = {0.4914f, 0.4822f, 0.4465f};
  info.std = {0.2470f, 0.2435f, 0.2616f};
  return info;
}

DatasetInfo cifar100_info(const DataRequest& request) {
  DatasetInfo info = image_info("cifar100", request.split, side, side, channels, numbered_classes(100));
  info.samples = published_samples(request.split);
  info.mean = {0.5071f, 0.4865f, 0.4409f};
  info.std = {0.2673f, 0.2564f, 0.2762f};
  return info;
}

std::shared_ptr<const Dataset> open_cifar10(const DataRequest& request) {
  check_options(request, {});
  DataFiles wanted{"cifar10",
                   {"", "cifar-10-batches-bin"},
                   {"test_batch.bin"},
                   false,
                   "cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"};
  if (request.split == Split::train)
    wanted.names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                    "data_batch_5.bin"};
  return image_set(cifar10_info(request), read_records(request, wanted, {1, 10}));
}

std::shared_ptr<const Dataset> open_cifar100(const DataRequest& request) {
  check_options(request, {});
  const DataFiles wanted{"cifar100",
                         {"", "cifar-100-binary"},
                         {request.split == Split::train ? "train.bin" : "test.bin"},
                         false,
                         "cifar-100-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"};
  return image_set(cifar100_info(request), read_records(request, wanted, {2, 100}));
}

}  // namespace octavo
