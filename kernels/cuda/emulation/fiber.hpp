// fiber.hpp — a stack of its own that is run in turns with whoever resumes it.
//
// What a CUDA thread is in the emulation. On x86-64 a switch is a dozen instructions; elsewhere it
// is ucontext's. AddressSanitizer is told of every switch. Used by one thread of the machine.
#pragma once

#include <cstddef>
#include <memory>

namespace tessera::emulation {

class Fiber {
 public:
  static constexpr std::size_t kStackBytes = 128 << 10;  // touched page by page

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes the fiber call entry(argument) when it is next resumed; what it did before is dropped,
  // not unwound. `entry` ends with finish() and lets no exception out.
  void start(void (*entry)(void*), void* argument);

  // Runs it until it yields or has finished; called by anything but a fiber.
  void resume();
  // Back to whoever resumed; called by the fiber itself.
  void yield();
  [[noreturn]] void finish();

 private:
  struct Context;

  void enter();

  std::unique_ptr<Context> context_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
};

}  // namespace tessera::emulation
