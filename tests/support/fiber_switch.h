// Changing from one stack to another. makecontext() of the C library asks the kernel for the signal mask at
// every change, which takes most of the time of a test on fibers: where the calling convention is known, a
// few instructions do it.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace octavo::kernels::test {

#if defined(__x86_64__)

// Keeps what a function must leave as it was, and goes on where the other stack was left.
extern "C" void octavo_switch_stacks(void** left, void* entered);
asm(R"(
.pushsection .text
.weak octavo_switch_stacks
.type octavo_switch_stacks, @function
octavo_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size octavo_switch_stacks, .-octavo_switch_stacks
.popsection
)");

/// A place in a program with a stack of its own, or that of the thread.
class FiberContext {
 public:
  /// Begins `start`, which never returns, at the next change to it.
  void begin(char* stack, std::size_t bytes, void (*start)()) {
    auto top = reinterpret_cast<std::uintptr_t>(stack + bytes) / 16 * 16;
    auto* slots =
        reinterpret_cast<void**>(top) - 8;  // six registers, the function, and where it would return to
    for (int i = 0; i < 8; ++i) slots[i] = nullptr;
    slots[6] = reinterpret_cast<void*>(start);
    place_ = slots;
  }
  void change_to(FiberContext& other) { octavo_switch_stacks(&place_, other.place_); }

 private:
  void* place_ = nullptr;
};

#else

class FiberContext {
 public:
  void begin(char* stack, std::size_t bytes, void (*start)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack, context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, start, 0);
  }
  void change_to(FiberContext& other) { swapcontext(&context_, &other.context_); }

 private:
  ucontext_t context_;
};

#endif

}  // namespace octavo::kernels::test
