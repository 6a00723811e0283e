// machine.hpp — a CUDA grid on one core of the CPU: what the kernels' sources run on in CI.
//
// Every thread of a block is a fiber; blocks run one after the other. A thread runs until it meets
// a barrier or a warp's collective (shuffle, vote, mma, ldmatrix), where it waits for the others.
// What it proves: index arithmetic, fragment maps, packing, masks, barriers, the numbers. What it
// finds that a GPU shows by chance only:
//
//   uninitialised memory   shared memory and new device memory are full of NaNs
//   out of bounds          guards round every buffer, checked after each launch; AddressSanitizer
//                          sees the very access
//   divergence             a barrier or collective that not all named threads reach ends the
//                          launch with an Error that names block, thread and place
//   races                  between two barriers threads run whole, one by one, in an order that
//                          a Schedule says: what depends on it differs between schedules
//   too early a read       cp.async poisons its target until the wait; streams do nothing until
//                          somebody waits for them
//
// What it cannot prove: speed, occupancy, memory ordering between blocks that run at once, the
// order of additions inside a tensor core, fast-math units' last bits, asm text (that is
// assembled, not run). A kernel that spins for another block hangs here, so none may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>

namespace tessera::emulation {

// A kernel did what is an error or undefined on a GPU.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  constexpr unsigned volume() const { return x * y * z; }
};

enum class Order : std::uint8_t { kAscending, kDescending, kRandom };

// In which order blocks, warps of a block and lanes of a warp run, and what unwritten memory holds.
// A correct kernel's results are the same bits under every schedule.
struct Schedule {
  Order order = Order::kAscending;
  std::uint32_t seed = 0;
  std::uint8_t poison = 0xFF;  // NaN in fp32, fp16 and bf16
};
void set_schedule(const Schedule& schedule);
const Schedule& schedule();

constexpr unsigned kWarp = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr std::size_t kMaxSharedBytes = 227 << 10;  // of a block on Hopper

// The registers that say where a thread is; set before it is resumed.
struct Place {
  Dim3 thread{0, 0, 0};
  Dim3 block{0, 0, 0};
  Dim3 block_dim;
  Dim3 grid_dim;
};
extern thread_local Place place;

// Runs body(argument) in every thread of the grid. Throws Error. Not reentrant.
void run_grid(const char* kernel, Dim3 grid, Dim3 block, std::size_t shared_bytes,
              void (*body)(const void*), const void* argument);

// ---- Called by threads of the running block.

void sync_threads(const std::source_location& where);

// The lanes in `mask` give their operands; the last to arrive computes for all of them.
using Compute = void (*)(void* const* operands, unsigned mask);  // (32,), null outside the mask
void collective(unsigned mask, const char* name, void* operands, Compute compute,
                const std::source_location& where);

// The block's shared memory: what the launch asked for, and arrays named by a tag's address.
std::byte* dynamic_shared();
std::byte* static_shared(const void* tag, std::size_t bytes, std::size_t alignment);

// 32-bit addresses of shared memory, as the hardware's shared window has them.
std::uint32_t shared_address(const void* pointer);
std::byte* at_shared(std::uint32_t address, std::size_t bytes);  // checks bounds and alignment

// cp.async: copies become visible at the wait, until which their target is poison.
void copy_async(void* shared, const void* global, std::size_t bytes);
void commit_copies();
void wait_copies(int pending_groups);

// Ends the launch with an Error that names the thread.
[[noreturn]] void fail(const std::string& what);

// ---- Device memory: guarded, poisoned; called by the host.

void* allocate_device(std::size_t bytes);
void free_device(void* memory);
void check_guards();  // throws Error if anyone wrote beyond a buffer
std::size_t device_bytes_in_use();

}  // namespace tessera::emulation
