// Concat: copies of rows, without a kernel.
#include "ops/concat.h"

#include "device/op_functions.h"

namespace octavo::device {
namespace {

void copy_rows(const Run& run, std::byte* to, std::int64_t to_pitch, const std::byte* from,
               std::int64_t from_pitch, std::int64_t width, std::int64_t rows) {
  const auto size = [](std::int64_t bytes) { return static_cast<std::size_t>(bytes); };
  check(cudaMemcpy2DAsync(to, size(to_pitch), from, size(from_pitch), size(width), size(rows),
                          cudaMemcpyDeviceToDevice, run.stream),
        "concat");
}

}  // namespace

void concat_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const std::int64_t size = dtype_size(node.signature->outputs[0].dtype);
  auto* const out = static_cast<std::byte*>(run.address(node.outputs[0]));
  each_concat_block(*node.signature, [&](int i, std::int64_t rows, std::int64_t offset, std::int64_t block,
                                         std::int64_t row) {
    const auto* in = static_cast<const std::byte*>(run.address(node.inputs[static_cast<std::size_t>(i)]));
    copy_rows(run, out + offset * size, row * size, in, block * size, block * size, rows);
  });
}

void concat_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const std::int64_t size = dtype_size(node.signature->outputs[0].dtype);
  const auto* gradient = static_cast<const std::byte*>(run.address(node.grad_outputs[0]));
  each_concat_block(*node.signature, [&](int i, std::int64_t rows, std::int64_t offset, std::int64_t block,
                                         std::int64_t row) {
    auto* const out = static_cast<std::byte*>(run.address(node.grad_inputs[static_cast<std::size_t>(i)]));
    if (out != nullptr)
      copy_rows(run, out, block * size, gradient + offset * size, row * size, block * size, rows);
  });
}

}  // namespace octavo::device
