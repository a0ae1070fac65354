// FP32 linear layers by oneDNN: matrix products cut by output features, or by rows where features are few, so
// that no partial sums are left to add.
#include "onednn.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "conv_f32.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t evaluation_rows = 16;  // computed together, always as many
constexpr std::int64_t many_columns = 512;    // from here on the columns of the result are cut

Desc matrix(std::int64_t rows, std::int64_t columns, std::int64_t row_stride, std::int64_t column_stride) {
  return {{rows, columns}, f32, dnnl::memory::dims{row_stride, column_stride}};
}

/// One part of C = A * B [+ bias or + C].
struct MatrixPart {
  std::int64_t row, rows, column, columns;  // of C
  Desc a, b, c, bias;
  Planned plain, extra;  // extra: with bias, or added to C
};

enum class Extra : std::uint8_t { bias, sum };

Planned plan_product(const MatrixPart& p, const Desc& b, Extra extra, bool with_extra, Desc* chosen_b) {
  dnnl::primitive_attr attributes = user_scratchpad();
  if (with_extra && extra == Extra::sum) {
    dnnl::post_ops add;
    add.append_sum(1.0f);
    attributes.set_post_ops(add);
  }
  const auto planned = with_extra && extra == Extra::bias
                           ? describe<dnnl::matmul>(attributes, p.a, b, p.bias, p.c)
                           : describe<dnnl::matmul>(attributes, p.a, b, p.c);
  *chosen_b = planned.weights_desc();
  return {dnnl::matmul(planned), planned.scratchpad_desc()};
}

/// A matrix product C [rows, columns] over `depth`, cut into parts.
class MatrixProduct {
 public:
  /// Strides of A and B; B `packed` means in the order that oneDNN likes.
  struct Operands {
    std::int64_t a_row, a_column, b_row, b_column;
    bool packed;
  };

  MatrixProduct() = default;
  MatrixProduct(std::int64_t rows, std::int64_t columns, std::int64_t depth, const Operands& o, Extra extra,
                std::int64_t row_step, std::int64_t column_step)
      : depth_(depth), c_stride_(columns), operands_(o) {
    const OneOpenMpThread one_thread;
    for (std::int64_t column = 0; column < columns; column += column_step)
      for (std::int64_t row = 0; row < rows; row += row_step)
        add_part({row, std::min(row_step, rows - row), column, std::min(column_step, columns - column)},
                 extra);
    for (const MatrixPart& p : parts_)
      pad_bytes_ = std::max({pad_bytes_, size_of(p.plain.scratchpad), size_of(p.extra.scratchpad)});
  }

  std::int64_t parts() const { return static_cast<std::int64_t>(parts_.size()); }
  const MatrixPart& part(std::int64_t i) const { return parts_[static_cast<std::size_t>(i)]; }
  std::int64_t pad_bytes() const { return pad_bytes_; }
  std::int64_t scratch_bytes() const { return parts() * pad_bytes_ + 64; }

  std::int64_t packed_bytes() const {
    std::int64_t bytes = 64;
    for (const MatrixPart& p : parts_) bytes += p.row == 0 ? size_of(p.b) : 0;
    return bytes;
  }
  /// Where the columns of B that a part reads begin.
  char* packed(void* start, std::int64_t i) const {
    char* at = aligned(start);
    for (std::int64_t j = 0; j < i && part(j).column < part(i).column; ++j)
      at += part(j).row == 0 ? size_of(part(j).b) : 0;
    return at;
  }
  void pack(const float* b, void* target, const Parallel& parallel) const {
    parallel(parts(), [&](std::int64_t i) {
      const MatrixPart& p = part(i);
      if (p.row != 0) return;
      reorder(matrix(depth_, p.columns, operands_.b_row, operands_.b_column),
              b + p.column * operands_.b_column, p.b, packed(target, i));
    });
  }

  /// Part i, with the first elements of its rows of A and of its corner of C.
  void run_part(std::int64_t i, const float* a, const void* b, const float* bias, float* c, bool extra,
                void* scratch) const {
    const MatrixPart& p = part(i);
    Arguments arguments{{DNNL_ARG_SRC, memory_at(p.a, a)},
                        {DNNL_ARG_WEIGHTS, memory_at(p.b, b)},
                        {DNNL_ARG_DST, memory_at(p.c, c)}};
    if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, memory_at(p.bias, bias + p.column));
    run(extra ? p.extra : p.plain, arguments, aligned(scratch) + i * pad_bytes_);
  }

  void run_all(const float* a, const void* b, const float* bias, float* c, bool extra, void* scratch,
               const Parallel& parallel) const {
    parallel(parts(), [&](std::int64_t i) {
      const MatrixPart& p = part(i);
      const void* from = operands_.packed ? static_cast<const void*>(packed(const_cast<void*>(b), i))
                                          : static_cast<const float*>(b) + p.column * operands_.b_column;
      run_part(i, a + p.row * operands_.a_row, from, bias, c + p.row * c_stride_ + p.column, extra, scratch);
    });
  }

 private:
  void add_part(MatrixPart p, Extra extra) {
    p.a = matrix(p.rows, depth_, operands_.a_row, operands_.a_column);
    p.c = matrix(p.rows, p.columns, c_stride_, 1);
    p.bias = matrix(1, p.columns, p.columns, 1);
    const auto same = std::find_if(parts_.begin(), parts_.end(), [&](const MatrixPart& other) {
      return other.rows == p.rows && other.columns == p.columns;
    });
    const auto above = std::find_if(parts_.begin(), parts_.end(),
                                    [&](const MatrixPart& other) { return other.column == p.column; });
    if (same != parts_.end()) {
      p.b = same->b, p.plain = same->plain, p.extra = same->extra;
    } else {
      Desc wanted = matrix(depth_, p.columns, operands_.b_row, operands_.b_column);
      if (operands_.packed) wanted = Desc({depth_, p.columns}, f32, dnnl::memory::format_tag::any);
      if (above != parts_.end()) wanted = above->b;  // parts below each other share their columns of B
      p.plain = plan_product(p, wanted, extra, false, &p.b);
      p.extra = plan_product(p, p.b, extra, true, &p.b);
    }
    parts_.push_back(p);
  }

  std::int64_t depth_ = 0, c_stride_ = 0, pad_bytes_ = 0;
  Operands operands_{};
  std::vector<MatrixPart> parts_;
};

std::int64_t step_of(std::int64_t size, std::int64_t parts) {
  return std::max<std::int64_t>(16, ((size + parts - 1) / parts + 15) / 16 * 16);
}
std::int64_t column_step(std::int64_t columns) {
  return columns >= many_columns ? step_of(columns, max_parts) : columns;
}
std::int64_t row_step(std::int64_t rows, std::int64_t columns) {
  return columns >= many_columns ? rows : step_of(rows, max_parts);
}

class OnednnLinearF32 final : public ConvF32 {
 public:
  OnednnLinearF32(const ConvShape& s, ConvPhase phase) : rows_(s.w), c_(s.c), k_(s.k), phase_(phase) {
    const bool training = phase == ConvPhase::training;
    const std::int64_t rows = training ? rows_ : evaluation_rows;
    forward_ = {
        rows,           k_, c_, {c_, 1, 1, c_, true}, Extra::bias, training ? row_step(rows, k_) : rows,
        column_step(k_)};
    if (!training) return;
    grad_input_ = {rows, c_, k_, {k_, 1, c_, 1, true}, Extra::sum, row_step(rows, c_), column_step(c_)};
    // A is G transposed; the rows of the result are output features.
    grad_weight_ = {k_, c_, rows, {1, k_, c_, 1, false}, Extra::sum, row_step(k_, c_), column_step(c_)};
  }

  std::int64_t packed_bytes(Product product) const override {
    return product == Product::grad_weight ? 0 : of(product).packed_bytes();
  }
  void prepare_weights(Product product, const float* w, void* packed,
                       const Parallel& parallel) const override {
    of(product).pack(w, packed, parallel);
  }
  std::int64_t scratch_bytes(Product product, bool) const override {
    if (phase_ == ConvPhase::training) return of(product).scratch_bytes();
    return blocks() * forward_.scratch_bytes() + evaluation_rows * (c_ + k_) * 4 + 64;
  }

  void forward(const float* x, const void* packed, const float* bias, float* y, void* scratch,
               const Parallel& parallel) const override {
    if (phase_ == ConvPhase::training)
      forward_.run_all(x, packed, bias, y, bias != nullptr, scratch, parallel);
    else
      evaluate(x, packed, bias, y, scratch, parallel);
  }
  void grad_input(const float* g, const void* packed, float* dx, bool accumulate, void* scratch,
                  const Parallel& parallel) const override {
    grad_input_.run_all(g, packed, nullptr, dx, accumulate, scratch, parallel);
  }
  void grad_weight(const float* x, const float* g, float* dw, bool accumulate, void* scratch,
                   const Parallel& parallel) const override {
    grad_weight_.run_all(g, x, nullptr, dw, accumulate, scratch, parallel);
  }

 private:
  const MatrixProduct& of(Product product) const {
    return product == Product::forward      ? forward_
           : product == Product::grad_input ? grad_input_
                                            : grad_weight_;
  }
  std::int64_t blocks() const { return (rows_ + evaluation_rows - 1) / evaluation_rows; }

  /// The same product of `evaluation_rows` rows for every block; the last is filled up with zeros.
  void evaluate(const float* x, const void* packed, const float* bias, float* y, void* scratch,
                const Parallel& parallel) const {
    auto* filled = reinterpret_cast<float*>(aligned(scratch));
    float* result = filled + evaluation_rows * c_;
    char* pads = reinterpret_cast<char*>(result + evaluation_rows * k_);
    const std::int64_t whole = rows_ / evaluation_rows, left = rows_ % evaluation_rows;
    const auto row_bytes = [](std::int64_t rows, std::int64_t columns) {
      return static_cast<std::size_t>(rows * columns) * 4;
    };
    std::memset(filled, 0, row_bytes(evaluation_rows, c_));
    std::memcpy(filled, x + whole * evaluation_rows * c_, row_bytes(left, c_));
    parallel(blocks() * forward_.parts(), [&](std::int64_t task) {
      const std::int64_t block = task / forward_.parts(), i = task % forward_.parts();
      const bool last = block == whole;
      forward_.run_part(i, last ? filled : x + block * evaluation_rows * c_,
                        forward_.packed(const_cast<void*>(packed), i), bias,
                        (last ? result : y + block * evaluation_rows * k_) + forward_.part(i).column,
                        bias != nullptr, pads + block * forward_.scratch_bytes());
    });
    std::memcpy(y + whole * evaluation_rows * k_, result, row_bytes(left, k_));
  }

  std::int64_t rows_, c_, k_;
  ConvPhase phase_;
  MatrixProduct forward_, grad_input_, grad_weight_;
};

std::string refuse_linear(const ConvShape& s, ConvPhase) {
  const bool linear = s.n == 1 && s.h == 1 && s.ho == 1 && s.r == 1 && s.s == 1 && s.wo == s.w &&
                      s.groups == 1 && s.stride_w == 1 && s.pad_w == 0 && s.pad_h == 0;
  return linear ? std::string() : "not a linear layer";
}

}  // namespace

extern const ConvF32Candidate onednn_linear_f32;
constexpr ConvF32Candidate onednn_linear_f32{
    "onednn/linear_f32", refuse_linear,
    [](const ConvShape& shape, ConvPhase phase) -> std::unique_ptr<ConvF32> {
      return std::make_unique<OnednnLinearF32>(shape, phase);
    }};

}  // namespace octavo::kernels
