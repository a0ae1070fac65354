// What every adapter of oneDNN shares: one thread per call, memory of the caller.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

namespace octavo::kernels {
// NOLINTBEGIN(misc-definitions-in-headers): each adapter keeps its own copy
namespace {

using Desc = dnnl::memory::desc;
using Arguments = std::unordered_map<int, dnnl::memory>;
constexpr auto f32 = dnnl::memory::data_type::f32;
constexpr std::int64_t max_parts = 8;  // of one call, whatever the number of threads

std::int64_t align(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
std::int64_t size_of(const Desc& desc) { return align(static_cast<std::int64_t>(desc.get_size())); }

/// OpenMP limited to the calling thread while one lives: octavo's own pool runs the parts. The functions come
/// from whatever runtime oneDNN brought along; without one there is nothing to limit.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(get() ? get()() : 1) {
    if (set()) set()(1);
  }
  ~OneOpenMpThread() {
    if (set()) set()(before_);
  }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  using Get = int (*)();
  using Set = void (*)(int);
  static Get get() {
    static const auto function = reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    return function;
  }
  static Set set() {
    static const auto function = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    return function;
  }
  int before_;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::memory memory_at(const Desc& desc, const void* data) {
  return {desc, engine(), const_cast<void*>(data)};
}

void execute(const dnnl::primitive& primitive, const Arguments& arguments) {
  thread_local dnnl::stream stream(engine());
  primitive.execute(stream, arguments);
  stream.wait();
}

void reorder(const Desc& from, const void* source, const Desc& to, void* target) {
  const OneOpenMpThread one_thread;
  dnnl::memory in = memory_at(from, source), out = memory_at(to, target);
  execute(dnnl::reorder(in, out), {{DNNL_ARG_FROM, in}, {DNNL_ARG_TO, out}});
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

/// Descriptors of primitives with these parameters; oneDNN 2 wraps them in a descriptor of their own, and
/// wants the hint of a backward primitive last.
template <class Primitive, class... Parameters>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attributes,
                                            const Parameters&... parameters) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), parameters..., attributes};
#else
  return {typename Primitive::desc(parameters...), attributes, engine()};
#endif
}
template <class Primitive, class Forward, class... Parameters>
typename Primitive::primitive_desc describe_backward(const Forward& forward,
                                                     const Parameters&... parameters) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), parameters..., forward, user_scratchpad()};
#else
  return {typename Primitive::desc(parameters...), user_scratchpad(), engine(), forward};
#endif
}

/// A primitive and what it needs besides tensors.
struct Planned {
  dnnl::primitive primitive;
  Desc scratchpad;
};

void run(const Planned& planned, Arguments arguments, void* scratchpad) {
  const OneOpenMpThread one_thread;
  arguments.emplace(DNNL_ARG_SCRATCHPAD, memory_at(planned.scratchpad, scratchpad));
  execute(planned.primitive, arguments);
}

char* aligned(void* scratch) {
  return static_cast<char*>(scratch) + (64 - reinterpret_cast<std::uintptr_t>(scratch) % 64) % 64;
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace octavo::kernels
