// Products of layers kept in float by NVIDIA's libraries: in training, where the user asks for them. In
// evaluation an image's results must not depend on its batch, which no library promises.
#pragma once

#include "conv_f32.h"
#include "lt_matmul.h"

namespace octavo::kernels::cuda {

class LibraryF32 {
 public:
  virtual ~LibraryF32() = default;
  /// As a plan names it: "cublaslt/matmul_tf32".
  virtual std::string kernel() const = 0;
  virtual std::int64_t workspace_bytes() const = 0;
  /// As run_conv_f32(): `args.scratch` is of workspace_bytes(), and pointers begin at multiples of 16 bytes.
  /// Sums have the library's order, which is the same in every run.
  virtual void run(const ConvF32Args& args, cudaStream_t stream) const = 0;

 protected:
  LibraryF32() = default;
  LibraryF32(const LibraryF32&) = delete;
  LibraryF32& operator=(const LibraryF32&) = delete;
};

/// The product by the library that takes it, or null. `bias`: of forward, ConvF32Args has one.
std::shared_ptr<const LibraryF32> plan_library_f32(const ConvShape& shape, Product product, LibraryMath math,
                                                   bool bias);

const char* math_name(LibraryMath math);
/// fp32, tf32 or bf16.
LibraryMath float_math(const std::string& name);

}  // namespace octavo::kernels::cuda
