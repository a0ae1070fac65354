#include "device/captured_steps.h"

#include <algorithm>
#include <cstdlib>

#include "device/memory.h"

namespace octavo::device {
namespace {

constexpr std::size_t most_graphs = 8, most_seen = 256;

cudaGraphExec_t capture(cudaStream_t stream, FunctionRef<void()> enqueue) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture of a step");
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

CapturedSteps::CapturedSteps() {
  const char* asked = std::getenv("OCTAVO_CUDA_GRAPHS");
  enabled_ = asked == nullptr || std::string(asked) != "0";
}

CapturedSteps::~CapturedSteps() {
  for (const Graph& kept : graphs_) static_cast<void>(cudaGraphExecDestroy(kept.graph));
}

void CapturedSteps::run(const std::string& passes, cudaStream_t stream, FunctionRef<void()> enqueue) {
  if (seen_.size() >= most_seen) seen_.clear();
  if (!enabled_ || seen_.insert(passes).second) return enqueue();
  auto known =
      std::find_if(graphs_.begin(), graphs_.end(), [&](const Graph& kept) { return kept.passes == passes; });
  if (known == graphs_.end()) {
    if (graphs_.size() >= most_graphs) {
      check(cudaGraphExecDestroy(graphs_.back().graph), "graph of a step");
      graphs_.pop_back();
    }
    graphs_.push_front({passes, capture(stream, enqueue)});
    known = graphs_.begin();
  }
  graphs_.splice(graphs_.begin(), graphs_, known);
  ++launches_;
  check(cudaGraphLaunch(known->graph, stream), "a step as a graph");
}

}  // namespace octavo::device
