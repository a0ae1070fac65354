// The loader: the same batches for every number of workers, resume, errors, augmentation.
#include "data/loader.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>
#include <stdexcept>
#include <thread>

#include "data/transform.h"
#include "data_support.h"

using namespace octavo;
using namespace data_test;

namespace {

/// Images of 8 x 8 x 3 with values that name sample and place; may fail or be slow at one sample.
struct Patterns : Dataset {
  DatasetInfo description;
  std::int64_t failing = -1, throws_foreign = -1;
  mutable std::atomic<int> failures{0};
  std::chrono::milliseconds delay{0};

  explicit Patterns(std::int64_t samples) {
    description.name = "patterns";
    description.samples = samples;
    description.fields = {{"label", {DType::i64, Shape{}}},
                          {"image", {DType::u8, Shape{8, 8, 3}}},
                          {"box", {DType::f32, Shape{2}}}};
    description.mean = {0.25f, 0.5f, 0.75f};
    description.std = {0.5f, 0.25f, 0.125f};
  }
  const DatasetInfo& info() const override { return description; }
  void read(std::int64_t index, std::span<void* const> out) const override {
    if (index == failing && failures > 0) {
      --failures;
      throw Error(Errc::data, "the disk is gone");
    }
    if (index == throws_foreign) throw std::runtime_error("from elsewhere");
    std::this_thread::sleep_for(delay);
    *static_cast<std::int64_t*>(out[0]) = index;
    auto* pixels = static_cast<std::uint8_t*>(out[1]);
    for (std::int64_t i = 0; i < 192; ++i) pixels[i] = pattern(index, i);
    const float box[2] = {static_cast<float>(index), 0.5f};
    std::memcpy(out[2], box, sizeof box);
  }
  static std::uint8_t pattern(std::int64_t index, std::int64_t at) {
    return static_cast<std::uint8_t>(index * 37 + at * 5 + 1);
  }
};

struct Copy {
  LoaderCursor position;
  bool last;
  std::vector<std::int64_t> samples;
  std::vector<float> pixels;
  bool operator==(const Copy&) const = default;
};

Copy copy_of(const Batch& batch) {
  const auto pixels = batch["image"].as<float>();
  return {batch.position, batch.last, batch.samples, {pixels.begin(), pixels.end()}};
}

std::vector<Copy> take(Loader& loader, int count) {
  std::vector<Copy> batches;
  batches.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) batches.push_back(copy_of(loader.next()));
  return batches;
}

LoaderOptions options_with(int workers) {
  LoaderOptions options;
  options.batch = 8;
  options.workers = workers;
  options.augment = {"pad_crop", "flip"};
  return options;
}

std::string next_error(Loader& loader, Errc code) {
  try {
    loader.next();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("next() gave no error");
  return {};
}

}  // namespace

TEST_CASE("the number of workers and the queue never change the batches") {
  const auto data = std::make_shared<Patterns>(83);
  for (bool drop_last : {true, false}) {
    LoaderOptions options = options_with(0);
    options.drop_last = drop_last;
    Loader reference(data, options);
    const std::vector<Copy> expected = take(reference, 40);
    for (int workers : {1, 3})
      for (int ready : {1, 5}) {
        options.workers = workers;
        options.ready = ready;
        Loader loader(data, options);
        CHECK(loader.workers() == workers);
        CHECK(take(loader, 40) == expected);
      }
  }
}

TEST_CASE("raw images are the augmented bytes, with what normalizes them") {
  const auto data = std::make_shared<Patterns>(83);
  LoaderOptions options = options_with(2);
  options.augment = GENERATE(std::vector<std::string>{}, std::vector<std::string>{"pad_crop"},
                             std::vector<std::string>{"pad_crop", "flip"});
  options.mean = {0.5F, 0.4F, 0.3F}, options.std = {0.2F, 0.25F, 0.3F};
  Loader normalized(data, options);
  options.raw_images = true;
  Loader raw(data, options);
  for (int i = 0; i < 12; ++i) {
    const Batch &a = normalized.next(), &b = raw.next();
    CHECK_FALSE(a.is_raw("image"));
    REQUIRE((b.is_raw("image") && !b.is_raw("label") && b["image"].shape() == a["image"].shape()));
    const auto pixels = b["image"].as<std::uint8_t>();
    std::vector<float> values;
    values.reserve(pixels.size());
    for (std::size_t at = 0; at < pixels.size(); ++at)
      values.push_back(static_cast<float>(pixels[at]) * b.scale[at % 3] + b.shift[at % 3]);
    CHECK(std::ranges::equal(values, a["image"].as<float>()));
  }
}

TEST_CASE("an epoch holds every sample once, in an order of its own") {
  const auto data = std::make_shared<Patterns>(83);
  LoaderOptions options = options_with(1);
  options.drop_last = false;
  Loader loader(data, options);
  REQUIRE(loader.batches_per_epoch() == 11);
  std::vector<std::vector<std::int64_t>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> order;
    for (int i = 0; i < 11; ++i) {
      const Batch& batch = loader.next();
      CHECK(batch.position == LoaderCursor{epoch, i});
      CHECK(batch.last == (i == 10));
      CHECK(batch.size() == (i == 10 ? 3 : 8));
      CHECK(batch["image"].shape() == Shape{batch.size(), 8, 8, 3});
      CHECK(batch["box"].shape() == Shape{batch.size(), 2});
      for (std::int64_t row = 0; row < batch.size(); ++row) {
        const std::int64_t sample = batch.samples[static_cast<std::size_t>(row)];
        CHECK(batch["label"].as<std::int64_t>()[static_cast<std::size_t>(row)] == sample);
        CHECK(batch["box"].as<float>()[static_cast<std::size_t>(row) * 2] == static_cast<float>(sample));
        order.push_back(sample);
      }
    }
    CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == 83);
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
  CHECK_THROWS_WITH(loader.next()["mask"], ContainsSubstring("it has label, image, box"));
}

TEST_CASE(
    "without shuffling the order is that of the set, and the last partial batch is dropped when asked") {
  LoaderOptions options = options_with(2);
  options.shuffle = false;
  Loader loader(std::make_shared<Patterns>(83), options);
  CHECK(loader.batches_per_epoch() == 10);
  for (std::int64_t i = 0; i < 20; ++i) CHECK(loader.next().samples.front() == i % 10 * 8);
}

TEST_CASE("every place of the order is equally likely for a sample") {
  const auto data = std::make_shared<Patterns>(16);
  LoaderOptions options = options_with(0);
  options.augment = {};
  options.batch = 16;
  Loader loader(data, options);
  std::vector<int> counts(256);
  for (int epoch = 0; epoch < 3200; ++epoch) {
    const Batch& batch = loader.next();
    for (std::size_t place = 0; place < 16; ++place)
      ++counts[place * 16 + static_cast<std::size_t>(batch.samples[place])];
  }
  // 225 degrees of freedom: deviation 21.2, so 5 deviations above the mean is 331.
  double chi_square = 0;
  for (int count : counts) chi_square += (count - 200.0) * (count - 200.0) / 200.0;
  CHECK(chi_square < 331);
}

TEST_CASE("a cursor resumes exactly, in any direction and with batches under way") {
  const auto data = std::make_shared<Patterns>(83);
  for (int workers : {0, 3}) {
    Loader whole(data, options_with(workers));
    const std::vector<Copy> expected = take(whole, 30);
    CHECK(whole.cursor() == LoaderCursor{3, 0});
    Loader resumed(data, options_with(workers));
    for (int start : {17, 0, 9, 29, 10}) {
      resumed.seek({start / 10, start % 10});
      CHECK(resumed.cursor() == LoaderCursor{start / 10, start % 10});
      CHECK(copy_of(resumed.next()) == expected[static_cast<std::size_t>(start)]);
    }
    CHECK_THROWS_WITH(resumed.seek({0, 10}), ContainsSubstring("an epoch has 10 batches"));
    CHECK_THROWS_AS(resumed.seek({-1, 0}), Error);
  }
}

TEST_CASE("an error reaches the consumer with the sample, and the batch can be asked for again") {
  for (int workers : {0, 1, 3}) {
    const auto data = std::make_shared<Patterns>(83);
    LoaderOptions options = options_with(workers);
    options.shuffle = false;
    const std::vector<Copy> expected = [&] {
      Loader reference(data, options);
      return take(reference, 10);
    }();
    data->failing = 43;
    data->failures = 1;
    Loader loader(data, options);
    for (int i = 0; i < 5; ++i) loader.next();
    CHECK_THAT(next_error(loader, Errc::data),
               ContainsSubstring("data set 'patterns', train sample 43: the disk is gone"));
    CHECK(loader.cursor() == LoaderCursor{0, 5});
    for (std::size_t i = 5; i < 10; ++i) CHECK(copy_of(loader.next()) == expected[i]);
  }
}

TEST_CASE("the next batch can be looked at while this one is used") {
  const auto data = std::make_shared<Patterns>(83);
  const std::vector<Copy> expected = [&] {
    Loader reference(data, options_with(1));
    return take(reference, 25);
  }();
  for (int workers : {1, 3}) {
    LoaderOptions options = options_with(workers);
    options.ready = workers;
    Loader loader(data, options);
    for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
      const Batch& now = loader.next();
      const LoaderCursor cursor = loader.cursor();
      const Batch* after = loader.peek();
      REQUIRE(after != nullptr);
      CHECK(copy_of(*after) == expected[i + 1]);
      CHECK(loader.peek() == after);
      CHECK(loader.cursor() == cursor);
      CHECK(copy_of(now) == expected[i]);
    }
  }
  Loader alone(data, options_with(0));
  CHECK(alone.peek() == nullptr);
  data->failing = 5;
  data->failures = 1;
  LoaderOptions options = options_with(1);
  options.shuffle = false;
  Loader broken(data, options);
  CHECK(broken.peek() == nullptr);
  CHECK_THAT(next_error(broken, Errc::data), ContainsSubstring("train sample 5"));
  CHECK(broken.peek() != nullptr);
}

TEST_CASE("a foreign exception becomes an error of the data") {
  const auto data = std::make_shared<Patterns>(20);
  data->throws_foreign = 2;
  LoaderOptions options = options_with(2);
  options.shuffle = false;
  Loader loader(data, options);
  CHECK_THAT(next_error(loader, Errc::data), ContainsSubstring("sample 2: from elsewhere"));
}

TEST_CASE("a loader ends in the middle of an epoch without waiting for its queue") {
  const auto data = std::make_shared<Patterns>(4000);
  LoaderOptions options = options_with(3);
  options.batch = 1000;
  { Loader never_used(data, options); }
  data->delay = std::chrono::milliseconds(5);
  options.shuffle = false;
  options.batch = 1;
  auto loader = std::make_unique<Loader>(data, options);
  loader->next();
  loader.reset();
  options.batch = 1000;  // five seconds each
  data->failing = 0;
  data->failures = 1;
  const auto start = std::chrono::steady_clock::now();
  loader = std::make_unique<Loader>(data, options);
  CHECK_THROWS_AS(loader->next(), Error);
  loader.reset();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
}

TEST_CASE("buffers are reused") {
  Loader loader(std::make_shared<Patterns>(83), options_with(2));
  std::set<const void*> buffers;
  for (int i = 0; i < 100; ++i) buffers.insert(loader.next()["image"].data());
  CHECK(buffers.size() <= 4);
}

TEST_CASE("images are normalized, cropped and mirrored as documented") {
  const auto data = std::make_shared<Patterns>(40);
  LoaderOptions options = options_with(0);
  options.shuffle = false;
  options.batch = 40;
  const auto value = [&](std::int64_t sample, std::int64_t y, std::int64_t x, std::int64_t c) {
    const bool inside = y >= 0 && y < 8 && x >= 0 && x < 8;
    const float pixel = inside ? Patterns::pattern(sample, (y * 8 + x) * 3 + c) : 0;
    const auto channel = static_cast<std::size_t>(c);
    return (pixel / 255.0f - data->description.mean[channel]) / data->description.std[channel];
  };
  // Whether row `sample` of the batch is the image moved by (dy, dx), mirrored or not.
  const auto matches = [&](const Batch& batch, std::int64_t sample, std::int64_t dy, std::int64_t dx,
                           bool mirrored) {
    const auto pixels = batch["image"].as<float>().subspan(static_cast<std::size_t>(sample) * 192, 192);
    for (std::int64_t at = 0; at < 192; ++at) {
      const std::int64_t y = at / 24, x = at / 3 % 8, c = at % 3;
      const float expected = value(sample, y + dy, (mirrored ? 7 - x : x) + dx, c);
      if (std::abs(pixels[static_cast<std::size_t>(at)] - expected) > 1e-5f) return false;
    }
    return true;
  };
  const auto found = [&](const Batch& batch, std::int64_t sample) {
    std::vector<int> places;
    for (std::int64_t dy = -4; dy <= 4; ++dy)
      for (std::int64_t dx = -4; dx <= 4; ++dx)
        for (bool mirrored : {false, true})
          if (matches(batch, sample, dy, dx, mirrored))
            places.push_back(static_cast<int>((dy + 4) * 100 + (dx + 4) * 10 + mirrored));
    return places;
  };
  SECTION("no augmentation") {
    options.augment = {};
    Loader loader(data, options);
    const Batch& batch = loader.next();
    for (std::int64_t i = 0; i < 40; ++i) CHECK(matches(batch, i, 0, 0, false));
  }
  SECTION("mean and deviation of the options") {
    options.augment = {};
    options.mean = {0.1f, 0.2f, 0.3f};
    options.std = {0.5f, 0.25f, 2.0f};
    Loader loader(data, options);
    const auto pixels = loader.next()["image"].as<float>();
    for (std::int64_t at = 0; at < 40 * 192; ++at) {
      const auto channel = static_cast<std::size_t>(at % 3);
      const float pixel = Patterns::pattern(at / 192, at % 192);
      REQUIRE(pixels[static_cast<std::size_t>(at)] ==
              Approx((pixel / 255 - options.mean[channel]) / options.std[channel]).margin(1e-5));
    }
    options.std = {0.5f, 0.25f};
    CHECK_THROWS_WITH(Loader(data, options), ContainsSubstring("data.normalize.std: 2 values"));
  }
  SECTION("crop and mirror, drawn anew in each epoch") {
    Loader loader(data, options);
    std::set<int> places[2];
    std::vector<int> sequence[2];
    for (int epoch = 0; epoch < 2; ++epoch) {
      const Batch& batch = loader.next();
      for (std::int64_t i = 0; i < 40; ++i) {
        const std::vector<int> place = found(batch, i);
        REQUIRE(place.size() == 1);
        places[epoch].insert(place[0]);
        sequence[epoch].push_back(place[0]);
      }
      CHECK(places[epoch].size() > 20);
    }
    CHECK(sequence[0] != sequence[1]);
  }
  SECTION("a transform draws the same whatever else is on the list") {
    options.augment = {"pad_crop"};
    Loader alone(data, options);
    options.augment = {"pad_crop", "flip"};
    Loader both(data, options);
    const Batch &one = alone.next(), &other = both.next();
    for (std::int64_t i = 0; i < 40; ++i) CHECK(found(one, i)[0] / 10 == found(other, i)[0] / 10);
  }
}

TEST_CASE("bad loader settings are configuration errors") {
  const auto data = std::make_shared<Patterns>(20);
  const auto with = [&](auto change) {
    LoaderOptions options = options_with(0);
    change(options);
    Loader loader(data, options);
  };
  CHECK_THROWS_WITH(with([](LoaderOptions& o) { o.batch = 0; }), ContainsSubstring("data.batch"));
  CHECK_THROWS_WITH(with([](LoaderOptions& o) { o.workers = -1; }), ContainsSubstring("data.threads"));
  CHECK_THROWS_WITH(with([](LoaderOptions& o) { o.ready = 0; }), ContainsSubstring("data.ready"));
  CHECK_THROWS_WITH(with([](LoaderOptions& o) { o.augment = {"flop"}; }),
                    ContainsSubstring("unknown transform 'flop'; known: pad_crop, flip"));
  CHECK_THROWS_WITH(with([](LoaderOptions& o) { o.batch = 21; }),
                    ContainsSubstring("20 samples give no batch of 21"));
  CHECK_NOTHROW(with([](LoaderOptions& o) { o.batch = 21, o.drop_last = false; }));
}

TEST_CASE("a set without images passes through, but cannot be augmented") {
  const auto data = std::make_shared<Patterns>(20);
  data->description.fields[1].name = "picture";
  LoaderOptions options = options_with(1);
  CHECK_THROWS_WITH(Loader(data, options), ContainsSubstring("has no field `image` of type u8"));
  options.augment = {};
  options.shuffle = false;
  Loader loader(data, options);
  CHECK(loader.next()["picture"].as<std::uint8_t>()[193] == Patterns::pattern(1, 1));
}
