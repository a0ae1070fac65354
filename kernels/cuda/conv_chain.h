// A product whose epilogue runs the pointwise chain behind it: ReLU, normalization by known vectors, integers
// by known scales. Results of the product never go to memory.
#pragma once

#include <cuda_runtime_api.h>

#include "chain_pass.h"
#include "conv_plan.h"

namespace octavo::kernels::cuda {

/// Empty, or why no chain runs in a product's epilogue.
std::string refuse_chain(const ConvPlan& plan, Family family);
/// Empty, or why a chain over the results of a product is a pass of its own.
std::string refuse_chain(const ConvPlan& plan, Family family, const ChainPass& pass);

/// run_conv() of Family::mma into memory of type args.out.type, then run_chain() with it as pass.x, in one
/// kernel: the same integers, bits and counts. args.out.data and pass.x.data mean nothing. Throws
/// std::invalid_argument for arguments that make no sense or that refuse_chain() speaks of,
/// std::runtime_error for errors of CUDA.
void run_conv_chain(const ConvPlan& plan, const ConvArgs& args, const ChainPass& pass, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
