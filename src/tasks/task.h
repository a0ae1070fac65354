// A task says how good a model is: its metric on evaluation batches.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "data/loader.h"
#include "exec/program.h"

namespace octavo {

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string metric_name() const = 0;
  virtual bool higher_is_better() const = 0;
  virtual std::set<std::string> outputs() const = 0;  ///< of the model, that add() reads
  virtual void reset() = 0;
  virtual void add(const Program& program, const Plan& plan, const Batch& batch) = 0;
  virtual double metric() const = 0;
};

/// Classification for models with an output `logits` and data with a field `label`; else the loss itself.
std::unique_ptr<Task> make_task(const Program& program, const DatasetInfo& data);

}  // namespace octavo
