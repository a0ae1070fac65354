// Host side of an integer product on the device: which sizes it takes, which layouts it reads, how it is cut.
// Plain C++: tests use it without CUDA.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "../kernels.h"
#include "implicit_gemm.h"
#include "layouts.h"
#include "sample_order.h"
#include "tma_steps.h"

namespace octavo::kernels::cuda {

/// Products that an int32 holds: of signed bytes with -128 among them, and of unsigned A by signed B.
constexpr std::int64_t longest_signed_sum = 131071, longest_unsigned_sum = 65793;

/// 128 x 128, 128 x 64, 64 x 64, and 128 x 256, which wgmma alone has and a plan takes only when told.
enum class TileKind : std::uint8_t { wide, narrow, small, broad };
/// Rows and columns of results.
int tile_rows(TileKind tile);
int tile_columns(TileKind tile);

/// Instructions of a convolution: mma of the tensor cores, which came with compute capability 7.5, dot
/// products of four bytes for cards before it and as a check, or wgmma, which 9.0 alone has.
enum class Family : std::uint8_t { mma, dp4a, wgmma };
inline constexpr std::array all_families = {Family::mma, Family::dp4a, Family::wgmma};
const char* family_name(Family family);
/// Libraries that plans ask for a product before our kernels.
enum class Library : std::uint8_t { none, cublaslt, cudnn };
/// What OCTAVO_CUDA_KERNELS names: a family, or a library, beside which the device's family runs products
/// that it does not take. Throws std::runtime_error for another word.
std::optional<Family> asked_family();
Library active_library();

struct ConvOptions {
  int a_planes = 1, b_planes = 1;
  bool a_unsigned = false;
  int sample_classes =
      0;  // grad_weight: the samples of G have classes below this (24 for the executor's rule)
  // These change speed, never results.
  int processors = 132;  // multiprocessors to keep busy
  std::optional<TileKind> tile = {};
  int least_splits = 1;
  bool tma = false;  // of wgmma: TMA fills the stages, where refuse_tma() says nothing against it
};

/// Options of a plan for a family, with a tile that it has: dp4a the small one alone. wgmma is fed by TMA
/// unless OCTAVO_CUDA_TMA=0.
ConvOptions options_for(Family family, ConvOptions options);

/// One product of one convolution.
struct ConvPlan {
  ConvShape shape;  // linear layers: rows are the batch
  Product product = Product::forward;
  ConvOptions options;
  bool one_sample = false;  // of the caller's shape: then scales per sample are one scale
  TileKind tile = TileKind::wide;
  ImplicitGemm gemm;
  TileGrid grid;
  TmaSteps tma;
  std::string name;  // describe_conv(), so that a launch makes no text

  int parts() const { return gemm.splits * options.a_planes * options.b_planes; }
  /// Several parts go through int32 sums in memory.
  bool direct() const { return parts() == 1 && !by_class(); }
  bool by_tma() const { return tma.step_bytes > 0; }
  bool by_class() const { return options.sample_classes > 0; }
  std::int64_t workspace_bytes() const {
    return direct() ? 0 : std::int64_t{gemm.sums} * options.a_planes * options.b_planes * gemm.results * 4;
  }
  /// X and Y as images; with sample classes their batch copies hold the samples in the order of these.
  ImageLayout x() const;
  ImageLayout y() const;
  /// Bytes of one plane of each operand; planes lie plane_bytes() of it apart.
  std::int64_t a_bytes() const;
  std::int64_t b_bytes() const;
  std::int64_t result_elements() const { return gemm.results; }
};

/// X and Y as images, W as weights, of a shape whose linear rows are a batch.
ConvShape rows_as_batch(ConvShape shape);
/// A linear layer or a 1x1 convolution without stride, padding and groups.
bool is_matrix_product(const ConvShape& shape);
ImageLayout x_layout(const ConvShape& shape);
ImageLayout y_layout(const ConvShape& shape);
WeightLayout weight_layout(const ConvShape& shape);

/// "cuda/conv_s8 forward of X ..., W ..., Y ...: ", the beginning of every message.
std::string describe_conv(const ConvShape& shape, Product product, const char* kernel = "cuda/conv_s8");
/// Empty, or why the kernels cannot do it and what to change.
std::string refuse_conv(const ConvShape& shape, Product product, const ConvOptions& options);
/// Throws std::invalid_argument with the text of refuse_conv.
ConvPlan plan_conv(const ConvShape& shape, Product product, const ConvOptions& options);

}  // namespace octavo::kernels::cuda
