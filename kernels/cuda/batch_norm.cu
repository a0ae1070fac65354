// Batch norm between its chains.
#include "batch_norm.h"

#include "batch_norm_kernels.cuh"
#include "channel_checks.h"
#include "launch.h"

namespace octavo::kernels::cuda {
namespace {

template <class Pass>
void finish(const Pass& pass, const std::string& what, cudaStream_t stream) {
  launch(finish_channels_kernel<Pass>, {channel_blocks(pass.channels), channel_threads, stream}, what, pass);
}

}  // namespace

void take_pivots(const FloatSource& first_pixel, int channels, float* minus_pivot, cudaStream_t stream) {
  const std::string what = check_channels("batch_norm_pivots", channels, {{minus_pivot, "minus_pivot"}});
  check_pointer(first_pixel.data, "y", what, static_cast<std::size_t>(float_bytes(first_pixel.type)));
  with_type(first_pixel.type, [&](auto tag) {
    using T = decltype(tag);
    launch(take_pivots_kernel<T>, {channel_blocks(channels), channel_threads, stream}, what,
           first_pixel.as<T>(), channels, minus_pivot);
  });
}

void finish_channels(const BatchNormForward& p, cudaStream_t stream) {
  const std::string what = check_channels("batch_norm_forward", p.channels,
                                          {{p.minus_pivot, "minus_pivot"},
                                           {p.gamma, "gamma"},
                                           {p.beta, "beta"},
                                           {p.mean, "mean"},
                                           {p.r, "r"},
                                           {p.a, "a"},
                                           {p.b, "b"}},
                                          {{p.sum, "sum"}, {p.squares, "squares"}});
  if (!(p.pixels >= 1)) throw std::invalid_argument(what + "pixels start at 1");
  check_optional_pointer(p.running_mean, "running_mean", what, alignof(float));
  check_optional_pointer(p.running_var, "running_var", what, alignof(float));
  if ((p.running_mean == nullptr) != (p.running_var == nullptr))
    throw std::invalid_argument(what + "running_mean and running_var go together");
  finish(p, what, stream);
}

void finish_channels(const BatchNormRepeated& p, cudaStream_t stream) {
  finish(p,
         check_channels(
             "batch_norm_repeated", p.channels,
             {{p.gamma, "gamma"}, {p.beta, "beta"}, {p.mean, "mean"}, {p.r, "r"}, {p.a, "a"}, {p.b, "b"}}),
         stream);
}

void finish_channels(const BatchNormEvaluation& p, cudaStream_t stream) {
  finish(p,
         check_channels("batch_norm_evaluation", p.channels,
                        {{p.gamma, "gamma"},
                         {p.beta, "beta"},
                         {p.running_mean, "running_mean"},
                         {p.running_var, "running_var"},
                         {p.a, "a"},
                         {p.b, "b"}}),
         stream);
}

void take_slopes(const BatchNormSlopes& s, cudaStream_t stream) {
  const std::string what =
      check_channels("batch_norm_slopes", s.channels, {{s.gamma, "gamma"}, {s.r, "r"}, {s.a, "a"}});
  check_optional_pointer(s.factor, "factor", what, alignof(float));
  check_optional_pointer(s.looked, "looked", what, alignof(float));
  launch(slopes_kernel, {channel_blocks(s.channels), channel_threads, stream}, what, s.gamma, s.r, s.factor,
         s.channels, s.a, s.looked);
}

void finish_channels(const BatchNormBackward& p, cudaStream_t stream) {
  const std::string what =
      check_channels("batch_norm_backward", p.channels,
                     {{p.gamma, "gamma"}, {p.mean, "mean"}, {p.r, "r"}, {p.a, "a"}, {p.b, "b"}, {p.d, "d"}},
                     {{p.sum, "sum"}, {p.products, "products"}});
  if (!(p.pixels >= 1)) throw std::invalid_argument(what + "pixels start at 1");
  for (const Named& n :
       {Named{p.margin, "margin"}, Named{p.grad_gamma, "grad_gamma"}, Named{p.grad_beta, "grad_beta"}})
    check_optional_pointer(n.pointer, n.name, what, alignof(float));
  if ((p.grad_gamma == nullptr) != (p.grad_beta == nullptr))
    throw std::invalid_argument(what + "grad_gamma and grad_beta go together");
  finish(p, what, stream);
}

void widen_samples(const BatchNormBackward& pass, const float* factor, std::uint32_t* sample_max, int samples,
                   cudaStream_t stream) {
  const std::string what =
      check_channels("widen_samples", pass.channels, {{pass.margin, "margin"}, {sample_max, "sample_max"}});
  check_optional_pointer(factor, "factor", what, alignof(float));
  if (samples < 1) throw std::invalid_argument(what + "sizes start at 1");
  launch(widen_samples_kernel, {1, channel_threads, stream}, what, pass.margin, factor, pass.channels,
         sample_max, samples);
}

}  // namespace octavo::kernels::cuda
