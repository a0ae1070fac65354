#include "device/captured_steps.h"

#include "device/memory.h"

namespace octavo::device {
namespace {

constexpr std::size_t most_graphs = 8;

cudaGraphExec_t capture(cudaStream_t stream, FunctionRef<void()> enqueue) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture of a step");
  cudaGraph_t graph = nullptr;
  try {
    enqueue();
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(stream, &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "capture of a step");
  cudaGraphExec_t made = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
  static_cast<void>(cudaGraphDestroy(graph));
  check(error, "graph of a step");
  return made;
}

}  // namespace

void CapturedSteps::run(const std::string& passes, cudaStream_t stream, FunctionRef<void()> enqueue) {
  auto known = graphs_.find(passes);
  if (known == graphs_.end() && passes == last_) {
    if (graphs_.size() >= most_graphs) clear();
    known = graphs_.emplace(passes, capture(stream, enqueue)).first;
  }
  last_ = passes;
  if (known == graphs_.end()) return enqueue();
  check(cudaGraphLaunch(known->second, stream), "a step as a graph");
}

void CapturedSteps::clear() {
  for (const auto& [passes, graph] : graphs_) static_cast<void>(cudaGraphExecDestroy(graph));
  graphs_.clear();
}

}  // namespace octavo::device
