#include "kernels/cuda/emulation/fiber.hpp"

#include <cstdint>
#include <cstdlib>
#include <new>

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__x86_64__)
// Keeps what the System V ABI says a callee keeps, on the stack that is left.
extern "C" void tessera_switch_stack(void** leave, void* enter);
asm(R"(
.text
.p2align 4
.globl tessera_switch_stack
.hidden tessera_switch_stack
.type tessera_switch_stack,@function
tessera_switch_stack:
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
.size tessera_switch_stack,.-tessera_switch_stack
)");
#endif

namespace tessera::emulation {
namespace {

// The fiber that a resume() is about to enter for the first time.
thread_local void (*next_entry)(void*) = nullptr;
thread_local void* next_self = nullptr;

extern "C" void tessera_fiber_entry() {
  next_entry(next_self);
  std::abort();  // a fiber ends by finish()
}

}  // namespace

struct Fiber::Context {
  void* stack = nullptr;
#if defined(__x86_64__)
  void* fiber_stack_pointer = nullptr;
  void* resumer_stack_pointer = nullptr;
#else
  ucontext_t fiber;
  ucontext_t resumer;
#endif
#if defined(__SANITIZE_ADDRESS__)
  void* fiber_fake_stack = nullptr;
  void* resumer_fake_stack = nullptr;
  const void* resumer_bottom = nullptr;
  std::size_t resumer_bytes = 0;
#endif

  void switch_to_fiber() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&resumer_fake_stack, stack, kStackBytes);
#endif
#if defined(__x86_64__)
    tessera_switch_stack(&resumer_stack_pointer, fiber_stack_pointer);
#else
    swapcontext(&resumer, &fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(resumer_fake_stack, nullptr, nullptr);
#endif
  }

  void switch_to_resumer([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber_fake_stack, resumer_bottom,
                                   resumer_bytes);
#endif
#if defined(__x86_64__)
    tessera_switch_stack(&fiber_stack_pointer, resumer_stack_pointer);
#else
    swapcontext(&fiber, &resumer);
#endif
    arrived();
  }

  // The first thing on the fiber's stack after a switch.
  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber_fake_stack, &resumer_bottom, &resumer_bytes);
#endif
  }
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {
  context_->stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (context_->stack == MAP_FAILED) throw std::bad_alloc();
}

Fiber::~Fiber() {
  munmap(context_->stack, kStackBytes);
}

void Fiber::start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
#if defined(__x86_64__)
  // As if it had been left by tessera_switch_stack, to return into the entry.
  constexpr std::size_t kKept = 6;
  auto* top =
      reinterpret_cast<std::uintptr_t*>(static_cast<std::byte*>(context_->stack) + kStackBytes);
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(&tessera_fiber_entry);
  for (std::size_t i = 0; i < kKept; ++i) *--top = 0;
  context_->fiber_stack_pointer = top;
#else
  getcontext(&context_->fiber);
  context_->fiber.uc_stack.ss_sp = context_->stack;
  context_->fiber.uc_stack.ss_size = kStackBytes;
  context_->fiber.uc_link = nullptr;
  makecontext(&context_->fiber, &tessera_fiber_entry, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
  context_->fiber_fake_stack = nullptr;
#endif
}

void Fiber::resume() {
  next_entry = [](void* self) { static_cast<Fiber*>(self)->enter(); };
  next_self = this;
  context_->switch_to_fiber();
}

void Fiber::enter() {
  context_->arrived();
  entry_(argument_);
}

void Fiber::yield() {
  context_->switch_to_resumer(false);
}

void Fiber::finish() {
  context_->switch_to_resumer(true);
  std::abort();  // nobody resumes what has finished
}

}  // namespace tessera::emulation
