// The integer products on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "conv_plan.h"
#include "conv_run.h"
#include "sums_plan.h"

namespace octavo::kernels::cuda {

/// Empty, or why the current device or this build does not run a family, and what to do.
std::string refuse_family(Family family);
/// asked_family(), else mma, or dp4a where the current device has no mma of bytes.
Family active_family();

/// Loads the kernels of a plan for a family that is not refused and asks the current device once what their
/// launches need, so that a capture may hold the first of them.
void prepare_conv(const ConvPlan& plan, Family family);
/// The same of the join alone, for products of libraries.
void prepare_join(const ConvPlan& plan);

/// Runs the product on `stream`, as ConvArgs says. All pointers are of the device, A and B in the layouts of
/// layouts.h with planes plane_bytes() apart and aligned to 16 bytes, `scratch` of plan.workspace_bytes().
/// Sample classes come as the order of samples that the batch copies were written in, in place of
/// args.sample_class. A plan with by_tma() has tensor maps made of A and B in each call. With `sums` of
/// plan_sums() it also takes sums by channel of its results. Throws std::invalid_argument for arguments that
/// make no sense and for a refused family, std::runtime_error for errors of CUDA.
void run_conv(const ConvPlan& plan, const ConvArgs& args, Family family, cudaStream_t stream,
              const SampleOrder* order = nullptr, const ConvSums* sums = nullptr);
/// The same with active_family(), for a plan made with options_for() it.
void run_conv(const ConvPlan& plan, const ConvArgs& args, cudaStream_t stream,
              const SampleOrder* order = nullptr, const ConvSums* sums = nullptr);

/// Results of the int32 sums at run.parts, each [part][result] in the plan's order.
void join_parts(const ConvPlan& plan, const ConvRun& run, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
