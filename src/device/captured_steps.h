// Launches of a step captured as CUDA graphs, by the passes that they have.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <string>

#include "function_ref.h"

namespace octavo::device {

class CapturedSteps {
 public:
  CapturedSteps() = default;
  CapturedSteps(const CapturedSteps&) = delete;
  CapturedSteps& operator=(const CapturedSteps&) = delete;
  ~CapturedSteps() { clear(); }

  /// Launches what `enqueue` puts on the stream: by itself the first time, so that all memory it takes is
  /// there and every kernel loaded; captured the second time in a row, and again as a graph from then on.
  void run(const std::string& passes, cudaStream_t stream, FunctionRef<void()> enqueue);
  /// The next step follows one with other launches.
  void forget_last() { last_.clear(); }
  std::size_t size() const { return graphs_.size(); }

 private:
  void clear();
  std::map<std::string, cudaGraphExec_t> graphs_;
  std::string last_;
};

}  // namespace octavo::device
