// Range batch normalization around its chains.
#include "range_norm.h"

#include "channel_checks.h"
#include "launch.h"
#include "range_norm_kernels.cuh"

namespace octavo::kernels::cuda {
namespace {

void check_chunks(const RowChunks& of, const std::string& what) {
  if (of.rows < 1 || of.chunks < 1 || of.chunks > of.rows)
    throw std::invalid_argument(what + std::to_string(of.rows) + " rows in " + std::to_string(of.chunks) +
                                " chunks; a chunk has a row at least");
  if (ceil_div(of.results(), range_norm_threads) >= most_blocks)
    throw std::invalid_argument(what + "2^31 blocks or more; use fewer chunks");
}

Launch launch_of(const RowChunks& of, cudaStream_t stream) {
  return {static_cast<unsigned>(ceil_div(of.results(), range_norm_threads)), range_norm_threads, stream};
}

void check_rows(const std::int64_t* top, const std::int64_t* bottom, const std::string& what) {
  check_pointer(top, "top", what, alignof(std::int64_t));
  check_pointer(bottom, "bottom", what, alignof(std::int64_t));
}

template <class Pass>
void finish(const Pass& pass, const std::string& what, cudaStream_t stream) {
  launch(finish_channels_kernel<Pass>, {channel_blocks(pass.channels), channel_threads, stream}, what, pass);
}

}  // namespace

void look_at_chunks(const RangeNormLook& look, cudaStream_t stream) {
  const std::string what =
      check_channels("range_norm_look", look.of.channels, {{look.x, "x"}}, {{look.sum, "sum"}});
  check_chunks(look.of, what);
  check_rows(look.top, look.bottom, what);
  launch(range_norm_look_kernel<RangeNormLook>, launch_of(look.of, stream), what, look);
}

void look_at_chunks(const RangeNormGradientLook& look, cudaStream_t stream) {
  const std::string what = check_channels("range_norm_gradient_look", look.of.channels,
                                          {{look.x, "x"}, {look.dz, "dz"}, {look.mean, "mean"}},
                                          {{look.sum, "sum"}, {look.product, "product"}});
  check_chunks(look.of, what);
  launch(range_norm_look_kernel<RangeNormGradientLook>, launch_of(look.of, stream), what, look);
}

void finish_channels(const RangeNormForward& p, cudaStream_t stream) {
  const std::string what = check_channels("range_norm_forward", p.channels,
                                          {{p.looked.x, "x"},
                                           {p.gamma, "gamma"},
                                           {p.mean, "mean"},
                                           {p.r, "r"},
                                           {p.minus_mean, "minus_mean"},
                                           {p.a, "a"}},
                                          {{p.looked.sum, "sum"}});
  check_chunks(p.looked.of, what);
  check_rows(p.looked.top, p.looked.bottom, what);
  check_optional_pointer(p.running_mean, "running_mean", what, alignof(float));
  check_optional_pointer(p.running_deviation, "running_deviation", what, alignof(float));
  if ((p.running_mean == nullptr) != (p.running_deviation == nullptr))
    throw std::invalid_argument(what + "running_mean and running_deviation go together");
  finish(p, what, stream);
}

void finish_channels(const RangeNormRepeated& p, cudaStream_t stream) {
  finish(p,
         check_channels(
             "range_norm_repeated", p.channels,
             {{p.gamma, "gamma"}, {p.mean, "mean"}, {p.r, "r"}, {p.minus_mean, "minus_mean"}, {p.a, "a"}}),
         stream);
}

void finish_channels(const RangeNormEvaluation& p, cudaStream_t stream) {
  finish(p,
         check_channels("range_norm_evaluation", p.channels,
                        {{p.gamma, "gamma"},
                         {p.running_mean, "running_mean"},
                         {p.running_deviation, "running_deviation"},
                         {p.minus_mean, "minus_mean"},
                         {p.a, "a"}}),
         stream);
}

void finish_channels(const RangeNormBackward& p, cudaStream_t stream) {
  const std::string what =
      check_channels("range_norm_backward", p.channels,
                     {{p.gamma, "gamma"}, {p.r, "r"}, {p.a, "a"}, {p.d, "d"}, {p.slope, "slope"}},
                     {{p.looked.sum, "sum"}, {p.looked.product, "product"}});
  check_chunks(p.looked.of, what);
  check_optional_pointer(p.grad_gamma, "grad_gamma", what, alignof(float));
  check_optional_pointer(p.grad_beta, "grad_beta", what, alignof(float));
  if ((p.grad_gamma == nullptr) != (p.grad_beta == nullptr))
    throw std::invalid_argument(what + "grad_gamma and grad_beta go together");
  finish(p, what, stream);
}

void add_slopes(const RangeNormExtremes& pass, cudaStream_t stream) {
  const std::string what =
      check_channels("range_norm_extremes", pass.of.channels, {{pass.slope, "slope"}, {pass.dx, "dx"}});
  check_chunks(pass.of, what);
  check_rows(pass.top, pass.bottom, what);
  launch(range_norm_extremes_kernel, launch_of(pass.of, stream), what, pass);
}

}  // namespace octavo::kernels::cuda
