// A callable that lives elsewhere: how a lambda is handed down without a copy of it on the heap.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

namespace octavo {

template <class Signature>
class FunctionRef;

/// Valid as long as the callable.
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class Function>
  requires(!std::same_as<std::remove_cvref_t<Function>, FunctionRef> &&
           std::is_invocable_r_v<Result, const Function&, Arguments...>) FunctionRef(const Function& function)
      : object_(&function), call_([](const void* object, Arguments... arguments) -> Result {
          return (*static_cast<const Function*>(object))(std::forward<Arguments>(arguments)...);
        }) {}
  FunctionRef(const void* object, Result (*call)(const void*, Arguments...)) : object_(object), call_(call) {}

  Result operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  const void* object_;
  Result (*call_)(const void*, Arguments...);
};

}  // namespace octavo
