// A seeded share of a data set. Smaller shares are parts of larger ones with the same seed.
#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "data/builtin.h"
#include "data/streams.h"

namespace octavo {

namespace {

class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> data, std::vector<std::int64_t> chosen)
      : data_(std::move(data)), chosen_(std::move(chosen)), info_(data_->info()) {
    info_.samples = static_cast<std::int64_t>(chosen_.size());
  }
  const DatasetInfo& info() const override { return info_; }
  void read(std::int64_t index, std::span<void* const> out) const override {
    data_->read(stored(index), out);
  }
  void read_crop(std::int64_t index, const ChooseRegion& choose, std::span<void* const> out) const override {
    data_->read_crop(stored(index), choose, out);
  }

 private:
  std::int64_t stored(std::int64_t index) const {
    require(index >= 0 && index < info_.samples, Errc::data, "data set '", info_.name, "': no sample ", index,
            " among ", info_.samples);
    return chosen_[static_cast<std::size_t>(index)];
  }

  std::shared_ptr<const Dataset> data_;
  std::vector<std::int64_t> chosen_;
  DatasetInfo info_;
};

}  // namespace

std::shared_ptr<const Dataset> take_fraction(std::shared_ptr<const Dataset> data,
                                             const DataRequest& request) {
  const auto all = static_cast<std::size_t>(data->info().samples);
  const auto count =
      std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(all) * request.fraction));
  if (count == all) return data;
  const kernels::RandomKey key = stream_key(Stream::subset, request.seed, 0);
  std::vector<std::int64_t> chosen(all);
  std::iota(chosen.begin(), chosen.end(), 0);
  for (std::size_t i = 0; i < count; ++i)
    std::swap(chosen[i], chosen[i + random_below(key, static_cast<std::uint32_t>(i), all - i)]);
  chosen.resize(count);
  std::sort(chosen.begin(), chosen.end());
  return std::make_shared<Subset>(std::move(data), std::move(chosen));
}

}  // namespace octavo
