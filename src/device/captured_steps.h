// Launches of a step captured as CUDA graphs, by the passes that they have.
#pragma once

#include <cuda_runtime_api.h>

#include <list>
#include <set>
#include <string>

#include "function_ref.h"

namespace octavo::device {

class CapturedSteps {
 public:
  CapturedSteps();
  CapturedSteps(const CapturedSteps&) = delete;
  CapturedSteps& operator=(const CapturedSteps&) = delete;
  ~CapturedSteps();

  /// Launches what `enqueue` puts on the stream: by itself the first time, so that all memory it takes is
  /// there and every kernel is loaded, then captured, and as a graph from then on. OCTAVO_CUDA_GRAPHS=0:
  /// always by itself.
  void run(const std::string& passes, cudaStream_t stream, FunctionRef<void()> enqueue);
  int launches() const { return launches_; }  ///< of graphs

 private:
  struct Graph {
    std::string passes;
    cudaGraphExec_t graph;
  };
  bool enabled_;
  std::set<std::string> seen_;  // passes that ran by themselves
  std::list<Graph> graphs_;     // the one used last first
  int launches_ = 0;
};

}  // namespace octavo::device
