// Batches in an order decided by (seed, epoch) alone, prepared ahead by worker threads.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/data.h"

namespace octavo {

struct LoaderOptions {
  std::int64_t batch = 128;
  bool shuffle = true;
  bool drop_last = true;   // training drops the last partial batch, evaluation keeps it
  int workers = 1;         // threads that prepare batches; 0: the caller does; never changes the result
  int ready = 2;           // batches prepared ahead at most
  std::uint64_t seed = 1;  // of order and augmentation
  std::vector<std::string> augment;  // names of transform_list.inc, in this order
  std::vector<float> mean, std;      // per channel of image / 255; empty: the set's own
  bool raw_images = false;           // a u8 `image` stays u8: who takes the batches normalizes it
};

/// Position in the endless stream of epochs; what a checkpoint keeps.
struct LoaderCursor {
  std::int64_t epoch = 0, batch = 0;
  bool operator==(const LoaderCursor&) const = default;
};

/// One batch: a u8 `image` has become f32 [N, H, W, C], normalized, or is raw; all other fields as the set
/// has them, with N in front.
struct Batch {
  LoaderCursor position;
  std::vector<std::int64_t> samples;    // N indices into the data set
  std::vector<std::string> names;       // of the fields
  std::vector<Tensor> values;           // one per name
  bool last = false;                    // of its epoch
  std::span<const float> scale, shift;  // of a raw image, by channel: pixel * scale + shift; else empty

  std::int64_t size() const { return static_cast<std::int64_t>(samples.size()); }
  bool is_raw(const std::string& name) const { return name == "image" && !scale.empty(); }
  /// The field called `name`; Errc::config with the names there are.
  const Tensor& operator[](const std::string& name) const;
};

/// Endless stream of epochs. Used by one thread.
class Loader {
 public:
  /// Errc::config for a bad option or a transform that does not fit the set, Errc::data for a set that gives
  /// no batch, Errc::resource for batches larger than the memory. Fewer threads than asked start when the
  /// system has no more; see workers().
  Loader(std::shared_ptr<const Dataset> data, LoaderOptions options);
  ~Loader();  // stops the workers, also in the middle of an epoch

  const Dataset& data() const;
  std::int64_t batches_per_epoch() const;
  int workers() const;

  /// The next batch, valid until the next call of next() or seek(). Throws what reading threw, with the
  /// sample's index in front; the batch stays the next one, so that a call may be repeated.
  const Batch& next();
  /// The batch that next() will give, once it is ready, valid as long; null where no thread prepares it or
  /// next() will throw.
  const Batch* peek();
  LoaderCursor cursor() const;  // of the batch that next() gives
  void seek(LoaderCursor cursor);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo
