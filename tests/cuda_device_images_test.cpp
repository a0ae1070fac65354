// Images of a batch on a device: the bits of the loader's pipeline.
#include "cuda/images.h"
#include "data/transform.h"
#include "support/cuda_chains.h"
#include "support/cuda_device_memory.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

TEST_CASE("images are normalized with the bits of the CPU") {
  for (const octavo::Shape& shape :
       {octavo::Shape{5, 7, 3}, octavo::Shape{1, 1, 1}, octavo::Shape{3, 3, 5}}) {
    octavo::DatasetInfo info;
    info.fields = {{"image", {octavo::DType::u8, shape}}};
    for (std::int64_t k = 0; k < shape.back(); ++k) {
      info.mean.push_back(0.4F + 0.013F * static_cast<float>(k));
      info.std.push_back(0.21F + 0.017F * static_cast<float>(k));
    }
    const octavo::ImagePipeline pipeline(info, {});
    std::mt19937 generator(5);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.elements()));
    for (std::uint8_t& pixel : pixels) pixel = static_cast<std::uint8_t>(generator());
    std::vector<float> expected(pixels.size());
    pipeline.normalize(pixels.data(), expected.data());
    DeviceMemory memory;
    const auto on_device = [&](std::span<const float> values) {
      return memory.put(std::vector<float>(values.begin(), values.end()));
    };
    float* const out = memory.put(std::vector<float>(pixels.size()));
    cu::normalize_images({shape.elements(), static_cast<int>(shape.back()), memory.put(pixels),
                          on_device(pipeline.scale()), on_device(pipeline.shift()), out},
                         nullptr);
    cu::check(cudaDeviceSynchronize(), "test: normalize_images");
    CHECK(first_difference(memory.get(out, pixels.size()), expected) == none);
  }
  CHECK_THROWS_WITH(cu::normalize_images({7, 3, nullptr, nullptr, nullptr, nullptr}, nullptr),
                    ContainsSubstring("cuda/normalize_images of 7 in 3 channels: pixels are whole"));
}
