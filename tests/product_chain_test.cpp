// A forward product and the sums over its results, chunk by chunk or one after the other: the same bits.
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "core/thread_pool.h"
#include "support/catch.h"
#include "support/conv_shapes.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

struct Sums {
  std::vector<double> values, squares;
  std::vector<float> out;
  bool operator==(const Sums& other) const {
    return values == other.values && squares == other.squares && out.size() == other.out.size() &&
           std::memcmp(out.data(), other.out.data(), out.size() * sizeof(float)) == 0;
  }
};

/// A product with operands, and the chain of batch norm's statistics behind it.
class Pair {
 public:
  Pair(const ConvS8Candidate& candidate, const ConvShape& shape, int planes, FloatType type)
      : shape_(shape),
        view_(candidate.a_view(shape, Product::forward)),
        kernel_(candidate.make(shape, Product::forward, view_, candidate.b_view(shape, Product::forward))),
        a_(planes * plane_stride(view_)),
        b_(planes * kernel_->packed_stride()),
        out_(y_elements(shape) * 4),
        target_(out_.data(), type),
        minus_pivot_(static_cast<std::size_t>(shape.k)) {
    std::mt19937 generator(7);
    std::uniform_int_distribution<int> any(-127, 127);
    const auto draw = [&](std::int64_t count) {
      std::vector<std::int8_t> values(static_cast<std::size_t>(count));
      for (std::int8_t& v : values) v = static_cast<std::int8_t>(any(generator));
      return values;
    };
    for (int plane = 0; plane < planes; ++plane)
      write_view(draw(x_elements(shape)).data(), view_,
                 static_cast<std::uint8_t*>(a_.data()) + plane * plane_stride(view_));
    kernel_->pack_planes(draw(planes * w_elements(shape)).data(), w_elements(shape), planes, b_.data(),
                         pool_parallel());
    args_ = {.a = a_.data(), .b = b_.data(), .a_planes = planes, .b_planes = planes};
    args_.a_scale = &scale_, args_.b_scale = &scale_, args_.out = target_;
    steps_[0] = {.kind = StepKind::scale_shift, .b = minus_pivot_.data()};
    steps_[1] = {.kind = StepKind::sums};
    chain_.n = shape.n, chain_.h = shape.ho, chain_.w = shape.wo, chain_.c = shape.k;
    chain_.x = target_, chain_.steps = steps_;
    scratch_ = std::make_unique<Buffer>(kernel_->scratch_bytes(args_) + 64);
    args_.scratch = scratch_->data();
    chain_scratch_ = std::make_unique<Buffer>(chain_scratch_bytes(chain_));
    chain_.scratch = chain_scratch_->data();
  }

  Sums together() {
    return result([&] {
      run_product_chain(
          *kernel_, args_, chain_, [&] { take_pivot(); }, pool_parallel());
    });
  }
  Sums one_by_one() {
    return result([&] {
      kernel_->run(args_, pool_parallel());
      take_pivot();
      run_chain(chain_, pool_parallel());
    });
  }

  /// Whether run_product_chain() goes chunk by chunk; parts that it runs, in the order of their borders.
  bool takes(std::int64_t count, std::int64_t step) {
    const std::int64_t pixels = shape_.n * shape_.ho * shape_.wo;
    return kernel_->takes_parts(args_, {count, [&](std::int64_t i) { return std::min(pixels, i * step); },
                                        [] {}, [](std::int64_t) {}});
  }

 private:
  Parallel pool_parallel() {
    return [this](std::int64_t chunks, const auto& body) { pool_.run(chunks, body); };
  }
  void take_pivot() {
    for (std::size_t k = 0; k < minus_pivot_.size(); ++k)
      minus_pivot_[k] = -FloatSource(target_)[static_cast<std::int64_t>(k)];
  }
  template <class Work>
  Sums result(const Work& work) {
    std::memset(out_.data(), 0x5b, static_cast<std::size_t>(y_elements(shape_)) * 4);
    std::fill(minus_pivot_.begin(), minus_pivot_.end(), 1e9F);
    Sums sums{std::vector<double>(minus_pivot_.size()), std::vector<double>(minus_pivot_.size()), {}};
    chain_.sum_v = sums.values.data(), chain_.sum_vx = sums.squares.data();
    work();
    for (std::int64_t i = 0; i < y_elements(shape_); ++i) sums.out.push_back(FloatSource(target_)[i]);
    return sums;
  }

  ConvShape shape_;
  View view_;
  std::unique_ptr<ConvS8> kernel_;
  Buffer a_, b_, out_;
  FloatTarget target_;
  std::vector<float> minus_pivot_;
  float scale_ = 0.03F;
  ConvArgs args_;
  Step steps_[2];
  Chain chain_;
  std::unique_ptr<Buffer> scratch_, chain_scratch_;
  octavo::ThreadPool pool_{3};
};

}  // namespace

TEST_CASE("sums beside a product are those of a pass of their own") {
  std::map<std::string, int> joined;
  for (const ConvShape& shape :
       {conv(6, 32, 32, 8, 96, 3, 3, 1, 1), conv(5, 33, 31, 16, 112, 1, 1),
        conv(16, 28, 28, 32, 48, 3, 3, 2, 1), conv(4, 56, 56, 32, 64, 3, 3, 1, 1, 1, 2),
        conv(9, 28, 28, 96, 96, 3, 3, 1, 1, 1, 96), conv(20, 57, 31, 48, 48, 3, 3, 2, 1, 1, 48),
        conv(2, 8, 700, 4, 64, 1, 1), linear(1100, 24, 520)})
    for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
      if (!isa_supported(candidate.isa) || !candidate.refuse(shape, Product::forward).empty() ||
          candidate.isa == Isa::ref)
        continue;
      for (const FloatType type : {FloatType::f32, FloatType::bf16})
        for (const int planes : {1, 2}) {
          INFO(candidate.name << " " << describe(shape) << " planes " << planes);
          Pair pair(candidate, shape, planes, type);
          CHECK(pair.together() == pair.one_by_one());
          joined[candidate.name] += pair.takes(16, 28 * shape.wo) ? 1 : 0;
        }
    }
  for (const char* name : {"avx512vnni/conv_s8", "avx512vnni/depthwise_s8"})
    if (isa_supported(Isa::avx512vnni)) CHECK(joined[name] >= 6);
}

TEST_CASE("parts cover all pixels in order, and begin when the first pixel is there") {
  if (!isa_supported(Isa::avx2)) WARN("skipped: the CPU lacks AVX2");
  const ConvShape shape = conv(3, 14, 15, 16, 40, 3, 3, 1, 1);
  for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
    if (!isa_supported(candidate.isa) || !candidate.refuse(shape, Product::forward).empty()) continue;
    const View view = candidate.a_view(shape, Product::forward);
    const auto kernel = candidate.make(shape, Product::forward, view, {});
    const std::int64_t borders[] = {0, 1, 40, 41, 41, 400, 630};
    Buffer a(view.bytes()), b(kernel->packed_stride());
    std::vector<std::int8_t> x(static_cast<std::size_t>(x_elements(shape)), 1),
        w(static_cast<std::size_t>(w_elements(shape)), 1);
    write_view(x.data(), view, a.data());
    const Parallel serial = [](std::int64_t chunks, const auto& body) {
      for (std::int64_t i = 0; i < chunks; ++i) body(i);
    };
    kernel->pack(w.data(), b.data(), serial);
    std::vector<float> out(static_cast<std::size_t>(y_elements(shape)), -1);
    const float one = 1;
    ConvArgs args{.a = a.data(), .b = b.data(), .a_scale = &one, .b_scale = &one};
    args.out = out.data();
    const auto written = [&](std::int64_t from, std::int64_t to) {  // pixels with all their channels
      return std::all_of(out.begin() + from * shape.k, out.begin() + to * shape.k,
                         [](float v) { return v > 0; });
    };
    int firsts = 0;
    std::vector<std::int64_t> order;
    const auto border = [&](std::int64_t i) { return borders[i]; };
    const auto first = [&] {
      ++firsts;
      CHECK(written(0, 1));
      CHECK(order.empty());
    };
    const auto after = [&](std::int64_t i) {
      order.push_back(i);
      CHECK(written(borders[i], borders[i + 1]));
      CHECK((i == 5 || !written(borders[i + 1], 630)));
    };
    const ResultParts parts{6, border, first, after};
    if (!kernel->takes_parts(args, parts)) continue;
    kernel->run_parts(args, parts, serial);
    CHECK(firsts == 1);
    CHECK(order == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
  }
}
