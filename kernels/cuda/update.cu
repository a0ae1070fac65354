// The update of parameters: norm, optimizer, gradients of biases.
#include "update.h"

#include <algorithm>

#include "launch.h"
#include "update_checks.h"
#include "update_kernels.cuh"

namespace octavo::kernels::cuda {
std::vector<NormChunk> norm_chunks(std::span<const GradientPart> gradients) {
  std::vector<NormChunk> chunks;
  for (const GradientPart& part : gradients)
    if (part.elements > 0) check_pointer(part.gradient, "a gradient", "cuda/norm_chunks: ", alignof(float));
  for (const GradientPart& part : gradients)
    for (std::int64_t begin = 0; begin < part.elements; begin += norm_chunk)
      chunks.push_back({part.gradient + begin, std::min<std::int64_t>(norm_chunk, part.elements - begin)});
  return chunks;
}

void gradient_norm(const NormChunk* chunks, int count, double* sums, StepScalars* step, cudaStream_t stream) {
  const std::string what = "cuda/gradient_norm of " + std::to_string(count) + " chunks: ";
  if (count < 0) throw std::invalid_argument(what + "counts start at 0");
  check_pointer(step, "step", what, alignof(StepScalars));
  if (count > 0) {
    check_pointer(chunks, "chunks", what, alignof(NormChunk));
    check_pointer(sums, "sums", what, alignof(double));
    launch(norm_chunks_kernel, {static_cast<unsigned>(count), norm_threads, stream}, what, chunks, sums);
  }
  launch(finish_norm_kernel, {1, norm_threads, stream}, what, sums, count, step);
}

std::vector<ListBlock> update_blocks(std::span<const SgdUpdate> updates) {
  for (const SgdUpdate& u : updates) check_pass(u);
  return cut_passes(updates, "update_sgd", update_parts<SgdUpdate>);
}

void update_sgd(const PassList<SgdUpdate>& list, const StepScalars* step, cudaStream_t stream) {
  const std::string what = check_list("update_sgd", list);
  check_pointer(step, "step", what, alignof(StepScalars));
  launch(sgd_kernel, {static_cast<unsigned>(list.block_count), update_threads, stream}, what, list.passes,
         list.blocks, step);
}

std::int64_t column_tiles(std::int64_t rows) { return ceil_div(rows, column_tile); }

void column_sums(const FloatSource& values, std::int64_t rows, int columns, float* scratch, float* gradient,
                 bool accumulate, cudaStream_t stream) {
  const std::string what =
      "cuda/column_sums of " + std::to_string(rows) + "x" + std::to_string(columns) + ": ";
  if (rows < 1 || columns < 1) throw std::invalid_argument(what + "sizes start at 1");
  check_pointer(values.data, "values", what, static_cast<std::size_t>(float_bytes(values.type)));
  check_pointer(scratch, "scratch", what, alignof(float));
  check_pointer(gradient, "gradient", what, alignof(float));
  with_type(values.type, [&](auto tag) {
    using T = decltype(tag);
    launch(column_tiles_kernel<T>,
           {blocks_for(column_tiles(rows) * columns, update_threads), update_threads, stream}, what,
           values.as<T>(), rows, columns, scratch);
  });
  launch(join_columns_kernel,
         {static_cast<unsigned>(ceil_div(columns, update_threads)), update_threads, stream}, what, scratch,
         column_tiles(rows), columns, gradient, accumulate);
}

}  // namespace octavo::kernels::cuda
