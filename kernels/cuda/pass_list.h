// One launch over a list of passes in device memory: many parameters, slots or copies at once. Each pass is
// cut into parts, one for a block.
#pragma once

#include <span>
#include <vector>

#include "pointers.h"

namespace octavo::kernels::cuda {

/// What a block of the launch takes.
struct ListBlock {
  std::int32_t pass = 0, part = 0;
};

/// Pointers are of the device; passes and blocks were made by the function that checks them.
template <class Pass>
struct PassList {
  const Pass* passes = nullptr;
  const ListBlock* blocks = nullptr;
  std::int64_t count = 0;        // of passes
  std::int64_t block_count = 0;  // of blocks
};

/// The blocks of passes that were checked: parts(pass) of each, in order.
template <class Pass, class Parts>
std::vector<ListBlock> cut_passes(std::span<const Pass> passes, const char* name, const Parts& parts) {
  std::vector<ListBlock> blocks;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    const std::int64_t count = parts(passes[i]);
    if (count >= most_blocks - std::ssize(blocks))
      throw std::invalid_argument(std::string("cuda/") + name + ": 2^31 blocks or more");
    for (std::int64_t part = 0; part < count; ++part)
      blocks.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(part)});
  }
  return blocks;
}

/// What the errors of a launch over a list begin with.
template <class Pass>
std::string check_list(const char* name, const PassList<Pass>& list) {
  const std::string what = std::string("cuda/") + name + " of " + std::to_string(list.count) + " passes in " +
                           std::to_string(list.block_count) + " blocks: ";
  if (list.count < 1 || list.block_count < list.count || list.block_count >= most_blocks)
    throw std::invalid_argument(what + "each pass has blocks, together fewer than 2^31");
  check_pointer(list.passes, "passes", what, alignof(Pass));
  check_pointer(list.blocks, "blocks", what, alignof(ListBlock));
  return what;
}

}  // namespace octavo::kernels::cuda
