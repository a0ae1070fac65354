// The functions that op_list.inc names.
#pragma once

#include "device/run.h"

namespace octavo::device {

void quantize_edge(Run& run, std::size_t node);
void run_chain_node(Run& run, std::size_t node);
void product_forward(Run& run, std::size_t node);
void product_backward(Run& run, std::size_t node);
void max_pool_forward(Run& run, std::size_t node);
void max_pool_backward(Run& run, std::size_t node);
void avg_pool_forward(Run& run, std::size_t node);
void avg_pool_backward(Run& run, std::size_t node);
void global_pool_forward(Run& run, std::size_t node);
void global_pool_backward(Run& run, std::size_t node);
void range_norm_forward(Run& run, std::size_t node);
void range_norm_backward(Run& run, std::size_t node);
void concat_forward(Run& run, std::size_t node);
void concat_backward(Run& run, std::size_t node);
void loss_forward(Run& run, std::size_t node);
void loss_backward(Run& run, std::size_t node);

void batch_norm_forward(DeviceChain& chain, const Node& node);
void batch_norm_backward(DeviceChain& chain, const Node& node);

}  // namespace octavo::device
