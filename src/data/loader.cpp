// The loader: the calling thread decides what each batch holds, workers fill batches in a ring of slots.
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <system_error>
#include <thread>

#include "core/check.h"
#include "core/memory.h"
#include "data/streams.h"
#include "data/transform.h"

namespace octavo {

namespace {

/// One place of the ring. The tail, a smaller batch at the end of an epoch, has its own tensors.
struct Slot {
  Batch full, tail;
  Batch* batch = nullptr;
  bool ready = false;
  std::exception_ptr error;
};

/// The field that is augmented and normalized on its way into a batch.
bool is_pixels(const Field& field) { return field.name == "image" && field.type.dtype == DType::u8; }

/// What one thread needs to fill a batch.
struct Workspace {
  std::vector<std::uint8_t> image, scratch;
  std::vector<void*> out;
};

/// As it lies in a batch.
DType type_of(const Field& field, const LoaderOptions& options) {
  return is_pixels(field) && !options.raw_images ? DType::f32 : field.type.dtype;
}

std::int64_t sample_bytes(const DatasetInfo& info, const LoaderOptions& options) {
  std::int64_t bytes = 0;
  for (const Field& field : info.fields)
    bytes = saturating_add(bytes, TensorType{type_of(field, options), field.type.shape}.bytes());
  return bytes;
}

void require_batches_fit(const Dataset& data, const LoaderOptions& options, std::int64_t batches) {
  const std::int64_t sample = sample_bytes(data.info(), options), samples = data.info().samples;
  const std::int64_t batch = checked_multiply(std::min(options.batch, samples), sample);
  const std::int64_t all = saturating_add(checked_multiply(batches, batch), 8 * samples);
  require(all <= memory_limit(), Errc::resource, "data.batch: ", batches, " batches of ", options.batch,
          " samples with ", bytes_text(sample), " each, and the order of ", samples, " samples take ",
          bytes_text(all), "; the memory here is ", bytes_text(memory_limit()));
}

/// The set's description with the mean and deviation that the options give.
DatasetInfo normalized_by(DatasetInfo info, const LoaderOptions& options) {
  const Shape& shape = info.field("image").type.shape;
  const auto channels = static_cast<std::size_t>(shape.rank() > 0 ? shape.back() : 0);
  const auto replace = [&](std::vector<float>& own, const std::vector<float>& given, const char* key) {
    require(given.empty() || given.size() == channels, Errc::config, "data.normalize.", key, ": ",
            given.size(), " values for the ", channels, " channels of data set '", info.name, "'");
    if (!given.empty()) own = given;
  };
  replace(info.mean, options.mean, "mean");
  replace(info.std, options.std, "std");
  return info;
}

/// Rethrows the exception in flight as an Error that names the sample.
[[noreturn]] void rethrow_for(std::int64_t sample, const DatasetInfo& info) {
  const std::string place =
      concat("data set '", info.name, "', ", split_name(info.split), " sample ", sample, ": ");
  try {
    throw;
  } catch (const Error& error) {
    throw Error(error.code(), place + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(Errc::resource, place + "out of memory");
  } catch (const std::exception& error) {
    throw Error(Errc::data, place + error.what());
  } catch (...) {
    throw Error(Errc::data, place + "exception of unknown type");
  }
}

}  // namespace

const Tensor& Batch::operator[](const std::string& name) const {
  std::string known;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return values[i];
    known += (known.empty() ? "" : ", ") + names[i];
  }
  fail(Errc::config, "the batch has no field '", name, "'; it has ", known);
}

struct Loader::Impl {
  Impl(std::shared_ptr<const Dataset> set, LoaderOptions chosen);
  ~Impl();

  void start_workers();
  void work();
  void dispatch();  // decides the contents of the next slot
  void compute_order(std::int64_t epoch);
  void prepare(Slot& slot, Workspace& workspace) const;
  void read(const Batch& batch, std::int64_t sample, Workspace& workspace) const;
  void fill(Batch& batch, Workspace& workspace) const;
  void allocate(Batch& batch) const;
  Slot& wait_for_next();  // filled, or with its error
  const Batch& next();
  const Batch* peek();
  void seek(LoaderCursor cursor);
  Slot& slot(std::int64_t ticket) { return slots[static_cast<std::size_t>(ticket) % slots.size()]; }

  const std::shared_ptr<const Dataset> data;
  const LoaderOptions options;
  std::optional<ImagePipeline> pipeline;  // of the field `image`, where it is u8
  std::int64_t per_epoch = 0;

  // Used by the calling thread alone.
  LoaderCursor upcoming, planned;  // of the next batch handed out, of the next one dispatched
  std::vector<std::int64_t> order;
  std::int64_t order_epoch = -1;
  Workspace own;

  // Tickets count dispatched batches since the last seek; ticket t lies in slot t modulo their number.
  std::mutex mutex;
  std::condition_variable work_there, batch_there;
  std::vector<Slot> slots;
  std::int64_t handed_out = 0, dispatched = 0, taken = 0, running = 0;
  bool stop = false;
  std::atomic<bool> abandon{false};
  std::vector<std::thread> threads;
};

Loader::Impl::Impl(std::shared_ptr<const Dataset> set, LoaderOptions chosen)
    : data(std::move(set)), options(std::move(chosen)) {
  const std::int64_t samples = data->info().samples;
  if (std::any_of(data->info().fields.begin(), data->info().fields.end(), is_pixels))
    pipeline.emplace(normalized_by(data->info(), options), options.augment);
  require(pipeline || options.augment.empty(), Errc::config, "data.augment: data set '", data->info().name,
          "' has no field `image` of type u8");
  require(options.batch > 0, Errc::config, "data.batch: ", options.batch, " is not above 0");
  require(options.workers >= 0 && options.workers <= 256, Errc::config, "data.threads: ", options.workers,
          " is not in 0 .. 256");
  require(options.ready > 0 && options.ready <= 1024, Errc::config, "data.ready: ", options.ready,
          " is not in 1 .. 1024");
  per_epoch = samples / options.batch + (!options.drop_last && samples % options.batch != 0);
  require(per_epoch > 0, Errc::data, "data set '", data->info().name, "': ", samples,
          " samples give no batch of ", options.batch,
          "; set a smaller data.batch or keep the last partial batch");
  require(samples <= UINT32_MAX, Errc::config, "data set '", data->info().name, "': ", samples,
          " samples, at most 2^32 - 1 can be put in order");
  slots.resize(options.workers == 0 ? 1 : static_cast<std::size_t>(options.ready) + 1);
  require_batches_fit(*data, options, static_cast<std::int64_t>(slots.size()));
  order.resize(static_cast<std::size_t>(samples));
  start_workers();
}

Loader::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex);
    stop = true;
    abandon = true;
  }
  work_there.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void Loader::Impl::start_workers() {
  threads.reserve(static_cast<std::size_t>(options.workers));
  try {
    for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The system has no more threads: fewer, or none, give the same batches.
  }
}

void Loader::Impl::work() {
  Workspace workspace;
  std::unique_lock lock(mutex);
  for (;;) {
    work_there.wait(lock, [this] { return stop || taken < dispatched; });
    if (stop) return;
    Slot& target = slot(taken++);
    ++running;
    lock.unlock();
    prepare(target, workspace);
    lock.lock();
    --running;
    target.ready = true;
    batch_there.notify_one();
  }
}

void Loader::Impl::compute_order(std::int64_t epoch) {
  if (epoch == order_epoch) return;
  std::iota(order.begin(), order.end(), 0);
  const kernels::RandomKey key = stream_key(Stream::order, options.seed, static_cast<std::uint64_t>(epoch));
  if (options.shuffle)
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[random_below(key, static_cast<std::uint32_t>(i), i)]);
  order_epoch = epoch;
}

void Loader::Impl::dispatch() {
  compute_order(planned.epoch);
  const std::int64_t first = planned.batch * options.batch;
  const std::int64_t count = std::min(options.batch, static_cast<std::int64_t>(order.size()) - first);
  Slot& target = slot(dispatched);
  target.batch = count == options.batch ? &target.full : &target.tail;
  target.batch->position = planned;
  target.batch->last = planned.batch + 1 == per_epoch;
  target.batch->samples.assign(order.begin() + first, order.begin() + first + count);
  target.ready = false;
  target.error = nullptr;
  planned = target.batch->last ? LoaderCursor{planned.epoch + 1, 0}
                               : LoaderCursor{planned.epoch, planned.batch + 1};
  const std::lock_guard lock(mutex);
  ++dispatched;
}

void Loader::Impl::prepare(Slot& slot, Workspace& workspace) const {
  try {
    fill(*slot.batch, workspace);
  } catch (...) {
    slot.error = std::current_exception();
  }
}

void Loader::Impl::allocate(Batch& batch) const {
  std::vector<Tensor> values;
  batch.names.clear();
  for (const Field& field : data->info().fields) {
    std::vector<std::int64_t> sizes{batch.size()};
    for (std::int64_t size : field.type.shape.sizes()) sizes.push_back(size);
    batch.names.push_back(field.name);
    values.push_back(Tensor::empty(Shape(sizes), type_of(field, options)));
  }
  if (pipeline && options.raw_images) batch.scale = pipeline->scale(), batch.shift = pipeline->shift();
  batch.values = std::move(values);
}

void Loader::Impl::read(const Batch& batch, std::int64_t sample, Workspace& workspace) const {
  if (!pipeline || !pipeline->crops_stored()) return data->read(sample, workspace.out);
  data->read_crop(
      sample,
      [&](std::int64_t h, std::int64_t w) {
        return pipeline->stored_region(options.seed, batch.position.epoch, sample, h, w);
      },
      workspace.out);
}

void Loader::Impl::fill(Batch& batch, Workspace& workspace) const {
  if (batch.values.empty()) allocate(batch);
  const std::vector<Field>& fields = data->info().fields;
  const auto image_bytes = static_cast<std::size_t>(pipeline ? pipeline->size().bytes() : 0);
  workspace.image.resize(image_bytes);
  workspace.scratch.resize(image_bytes);
  workspace.out.resize(fields.size());
  for (std::int64_t row = 0; row < batch.size() && !abandon; ++row) {
    std::byte* pixels = nullptr;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      auto* at =
          static_cast<std::byte*>(batch.values[i].data()) + batch.values[i].bytes() / batch.size() * row;
      workspace.out[i] = at;
      if (!is_pixels(fields[i])) continue;
      pixels = at;
      workspace.out[i] = workspace.image.data();
    }
    const std::int64_t sample = batch.samples[static_cast<std::size_t>(row)];
    try {
      read(batch, sample, workspace);
    } catch (...) {
      rethrow_for(sample, data->info());
    }
    if (!pixels) continue;
    const std::uint8_t* const image = pipeline->augment(options.seed, batch.position.epoch, sample,
                                                        workspace.image.data(), workspace.scratch.data());
    if (options.raw_images)
      std::memcpy(pixels, image, image_bytes);
    else
      pipeline->normalize(image, reinterpret_cast<float*>(pixels));
  }
}

Slot& Loader::Impl::wait_for_next() {
  const std::int64_t ahead = threads.empty() ? 1 : options.ready;
  while (dispatched < handed_out + ahead) {
    dispatch();
    work_there.notify_one();
  }
  Slot& target = slot(handed_out);
  if (threads.empty()) {
    prepare(target, own);
  } else {
    std::unique_lock lock(mutex);
    batch_there.wait(lock, [&] { return target.ready; });
  }
  return target;
}

const Batch* Loader::Impl::peek() {
  if (threads.empty()) return nullptr;
  const Slot& target = wait_for_next();
  return target.error ? nullptr : target.batch;
}

const Batch& Loader::Impl::next() {
  const Slot& target = wait_for_next();
  if (const std::exception_ptr error = target.error) {
    seek(upcoming);
    std::rethrow_exception(error);
  }
  ++handed_out;
  const LoaderCursor position = target.batch->position;
  upcoming = target.batch->last ? LoaderCursor{position.epoch + 1, 0}
                                : LoaderCursor{position.epoch, position.batch + 1};
  return *target.batch;
}

void Loader::Impl::seek(LoaderCursor cursor) {
  require(cursor.epoch >= 0 && cursor.batch >= 0 && cursor.batch < per_epoch, Errc::checkpoint,
          "loader: epoch ", cursor.epoch, ", batch ", cursor.batch, " does not exist: an epoch has ",
          per_epoch, " batches");
  std::unique_lock lock(mutex);
  taken = dispatched;  // what nobody has begun is forgotten
  abandon = true;
  batch_there.wait(lock, [this] { return running == 0; });
  abandon = false;
  handed_out = dispatched = taken = 0;
  upcoming = planned = cursor;
}

Loader::Loader(std::shared_ptr<const Dataset> data, LoaderOptions options)
    : impl_(std::make_unique<Impl>(std::move(data), std::move(options))) {}
Loader::~Loader() = default;
const Dataset& Loader::data() const { return *impl_->data; }
std::int64_t Loader::batches_per_epoch() const { return impl_->per_epoch; }
int Loader::workers() const { return static_cast<int>(impl_->threads.size()); }
const Batch& Loader::next() { return impl_->next(); }
const Batch* Loader::peek() { return impl_->peek(); }
LoaderCursor Loader::cursor() const { return impl_->upcoming; }
void Loader::seek(LoaderCursor cursor) { impl_->seek(cursor); }

}  // namespace octavo
