#include "kernels/cuda/emulation/machine.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "kernels/cuda/emulation/fiber.hpp"

namespace tessera::emulation {

thread_local Place place;

namespace {

constexpr std::size_t kGuardBytes = 256;
constexpr std::byte kGuard{0xC3};
constexpr std::uint32_t kSharedBase = 1024;  // Hopper keeps the first kilobyte to itself

thread_local Schedule current_schedule;

void fill_guard(std::byte* guard) {
  std::fill_n(guard, kGuardBytes, kGuard);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(guard, kGuardBytes);
#endif
}

bool is_whole(const std::byte* guard) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(guard, kGuardBytes);
#endif
  const bool whole = std::all_of(guard, guard + kGuardBytes, [](auto b) { return b == kGuard; });
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(guard, kGuardBytes);
#endif
  return whole;
}

void fill_poison(void* memory, std::size_t bytes) {
  std::memset(memory, current_schedule.poison, bytes);
}

std::string place_name(const Dim3& at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

std::string where_name(const std::source_location& where) {
  const std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

std::vector<unsigned> order_of(unsigned count, std::mt19937& random) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0U);
  if (current_schedule.order == Order::kDescending) std::reverse(order.begin(), order.end());
  if (current_schedule.order == Order::kRandom) std::shuffle(order.begin(), order.end(), random);
  return order;
}

// One block's shared memory: the window from kSharedBase on, with guards behind every part.
class SharedMemory {
 public:
  SharedMemory() : memory_(kSharedBase + kMaxSharedBytes + 64 * kGuardBytes) {}

  void reset(std::size_t dynamic_bytes) {
    release();
    dynamic_ = add(dynamic_bytes, 1024);
  }
  // Takes the guards off, so that the memory can be used anew.
  void release() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(memory_.data(), memory_.size());
#endif
    used_ = kSharedBase;
    guards_.clear();
    parts_.clear();
    arrays_.clear();
  }
  std::byte* dynamic() {
    return dynamic_;
  }
  std::byte* array(const void* tag, std::size_t bytes, std::size_t alignment) {
    std::byte*& array = arrays_[tag];
    if (array == nullptr) array = add(bytes, alignment);
    return array;
  }
  std::uint32_t address(const void* pointer) const {
    const auto* at = static_cast<const std::byte*>(pointer);
    if (at < base() || at > base() + used_) fail("an address that is not in shared memory");
    return static_cast<std::uint32_t>(at - base());
  }
  std::byte* at(std::uint32_t address, std::size_t bytes) {
    if (address % bytes != 0) fail("a misaligned shared address " + std::to_string(address));
    const bool inside = std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) {
      return address >= part.begin && address + bytes <= part.end;
    });
    if (!inside) {
      fail("shared address " + std::to_string(address) + " is outside the block's");
    }
    return base() + address;
  }
  bool guards_are_whole() const {
    return std::all_of(guards_.begin(), guards_.end(), [](const auto* g) { return is_whole(g); });
  }

 private:
  std::byte* base() {
    const auto raw = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + ((1024 - raw % 1024) % 1024);
  }
  const std::byte* base() const {
    return const_cast<SharedMemory*>(this)->base();
  }

  std::byte* add(std::size_t bytes, std::size_t alignment) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    if (used_ + bytes + kGuardBytes + 1024 > memory_.size()) fail("too much shared memory");
    std::byte* part = base() + used_;
    fill_poison(part, bytes);
    fill_guard(part + bytes);
    guards_.push_back(part + bytes);
    parts_.push_back({used_, used_ + bytes});
    used_ += bytes + kGuardBytes;
    return part;
  }

  std::vector<std::byte> memory_;
  std::size_t used_ = kSharedBase;
  std::byte* dynamic_ = nullptr;
  std::map<const void*, std::byte*> arrays_;
  std::vector<std::byte*> guards_;
  struct Part {
    std::size_t begin;
    std::size_t end;
  };
  std::vector<Part> parts_;
};

enum class State : std::uint8_t { kReady, kAtBarrier, kInWarp, kDone };

struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes;
  int group;
};

struct Thread {
  Fiber fiber;
  Place place;
  State state = State::kReady;
  const char* what = "";
  std::source_location where;
  std::vector<AsyncCopy> copies;
  int committed_groups = 0;
};

struct Pending {
  unsigned mask;
  unsigned arrived;
  const char* name;
  std::array<void*, kWarp> operands;
};

class Block {
 public:
  void run(const char* kernel, const Place& origin, std::size_t shared_bytes,
           void (*body)(const void*), const void* argument, std::mt19937& random);

  Thread& current() { return *threads_[current_]; }
  unsigned current_index() const { return current_; }
  SharedMemory& shared() { return shared_; }
  std::string describe(unsigned thread) const;

  void wait(State state, const char* what, const std::source_location& where);
  void arrive_at_barrier(const std::source_location& where);
  void arrive_in_warp(unsigned mask, const char* name, void* operands, Compute compute,
                      const std::source_location& where);

 private:
  static void enter(void* self);
  void prepare(const Place& origin);
  bool run_warp(unsigned warp, const std::vector<unsigned>& lanes);
  void resume(unsigned thread);
  void release_barrier();
  [[noreturn]] void report_deadlock() const;

  std::vector<std::unique_ptr<Thread>> threads_;  // as many as any block had
  unsigned num_threads_ = 0;
  unsigned num_done_ = 0;
  unsigned num_at_barrier_ = 0;
  unsigned current_ = 0;
  std::vector<std::vector<Pending>> pending_;  // of each warp
  SharedMemory shared_;
  const char* kernel_ = "";
  void (*body_)(const void*) = nullptr;
  const void* argument_ = nullptr;
  std::exception_ptr error_;
};

thread_local std::unique_ptr<Block> running;
thread_local bool is_running = false;

Block& block() {
  if (!is_running) throw Error("device code was called by the host");
  return *running;
}

void Block::prepare(const Place& origin) {
  num_threads_ = origin.block_dim.volume();
  while (threads_.size() < num_threads_) threads_.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < num_threads_; ++i) {
    Thread& thread = *threads_[i];
    thread.place = origin;
    const Dim3& dim = origin.block_dim;
    thread.place.thread = {i % dim.x, i / dim.x % dim.y, i / (dim.x * dim.y)};
    thread.state = State::kReady;
    thread.copies.clear();
    thread.committed_groups = 0;
    thread.fiber.start(&Block::enter, this);
  }
  pending_.assign((num_threads_ + kWarp - 1) / kWarp, {});
  num_done_ = num_at_barrier_ = 0;
  error_ = nullptr;
}

void Block::enter(void* self) {
  auto* block = static_cast<Block*>(self);
  try {
    block->body_(block->argument_);
  } catch (...) {
    block->error_ = std::current_exception();
  }
  Thread& thread = block->current();
  thread.state = State::kDone;
  ++block->num_done_;
  thread.fiber.finish();
}

void Block::resume(unsigned thread) {
  current_ = thread;
  place = threads_[thread]->place;
  threads_[thread]->fiber.resume();
  if (error_) std::rethrow_exception(error_);
}

// Until every lane waits or is done; whether any ran.
bool Block::run_warp(unsigned warp, const std::vector<unsigned>& lanes) {
  bool ran = false;
  for (bool again = true; again;) {
    again = false;
    for (const unsigned lane : lanes) {
      const unsigned thread = warp * kWarp + lane;
      if (thread >= num_threads_ || threads_[thread]->state != State::kReady) continue;
      resume(thread);
      again = ran = true;
    }
  }
  return ran;
}

void Block::run(const char* kernel, const Place& origin, std::size_t shared_bytes,
                void (*body)(const void*), const void* argument, std::mt19937& random) {
  kernel_ = kernel;
  body_ = body;
  argument_ = argument;
  shared_.reset(shared_bytes);
  prepare(origin);
  const std::vector<unsigned> warps = order_of(static_cast<unsigned>(pending_.size()), random);
  const std::vector<unsigned> lanes = order_of(kWarp, random);
  while (num_done_ < num_threads_) {
    bool ran = false;
    for (const unsigned warp : warps) ran |= run_warp(warp, lanes);
    if (!ran) report_deadlock();
  }
  if (!shared_.guards_are_whole()) {
    throw Error(std::string(kernel) + ": block " + place_name(origin.block) +
                " wrote beyond its shared memory");
  }
  for (unsigned i = 0; i < num_threads_; ++i) {
    if (!threads_[i]->copies.empty()) {
      throw Error(std::string(kernel) + ": " + describe(i) + " ended with cp.async not waited for");
    }
  }
}

std::string Block::describe(unsigned thread) const {
  const Place& at = threads_[thread]->place;
  return "block " + place_name(at.block) + " thread " + place_name(at.thread);
}

void Block::report_deadlock() const {
  std::string report = std::string(kernel_) + ": threads wait for ever:";
  int told = 0;
  const Thread* before = nullptr;
  for (unsigned i = 0; i < num_threads_; ++i) {
    const Thread& thread = *threads_[i];
    const bool same = before != nullptr && before->state == thread.state &&
                      before->what == thread.what && before->where.line() == thread.where.line();
    before = &thread;
    if (same || told == 8) continue;
    ++told;
    report += "\n  " + describe(i) + " and on: ";
    report += thread.state == State::kDone
                  ? std::string("has ended")
                  : std::string(thread.what) + " at " + where_name(thread.where);
  }
  throw Error(report);
}

void Block::wait(State state, const char* what, const std::source_location& where) {
  Thread& thread = current();
  thread.state = state;
  thread.what = what;
  thread.where = where;
  thread.fiber.yield();
}

void Block::release_barrier() {
  num_at_barrier_ = 0;
  for (unsigned i = 0; i < num_threads_; ++i) threads_[i]->state = State::kReady;
}

void Block::arrive_at_barrier(const std::source_location& where) {
  if (++num_at_barrier_ == num_threads_)
    release_barrier();
  else
    return wait(State::kAtBarrier, "__syncthreads", where);
}

void Block::arrive_in_warp(unsigned mask, const char* name, void* operands, Compute compute,
                           const std::source_location& where) {
  const unsigned warp = current_ / kWarp;
  const unsigned lane = current_ % kWarp;
  if ((mask >> lane & 1U) == 0) fail(std::string(name) + ": the mask leaves the caller out");
  std::vector<Pending>& pending = pending_[warp];
  auto mine = std::find_if(pending.begin(), pending.end(),
                           [&](const Pending& other) { return other.mask == mask; });
  if (mine == pending.end()) mine = pending.insert(pending.end(), {mask, 0, name, {}});
  if (std::strcmp(mine->name, name) != 0) {
    fail(std::string("lanes of one warp are at ") + mine->name + " and at " + name + ", " +
         where_name(where));
  }
  mine->arrived |= 1U << lane;
  mine->operands[lane] = operands;
  if (mine->arrived != mask) return wait(State::kInWarp, name, where);
  const Pending complete = *mine;
  pending.erase(mine);
  compute(complete.operands.data(), mask);
  for (unsigned i = 0; i < kWarp; ++i) {
    if ((mask >> i & 1U) != 0 && i != lane) threads_[warp * kWarp + i]->state = State::kReady;
  }
}

struct DeviceBlock {
  std::size_t bytes;
  std::byte* raw;
};
std::map<void*, DeviceBlock>& device_blocks() {
  static std::map<void*, DeviceBlock> blocks;
  return blocks;
}

// Marks the machine busy, and idle again however the launch ends.
struct Running {
  Running() { is_running = true; }
  ~Running() { is_running = false; }
};

}  // namespace

void set_schedule(const Schedule& schedule) {
  current_schedule = schedule;
}
const Schedule& schedule() {
  return current_schedule;
}

void run_grid(const char* kernel, Dim3 grid, Dim3 dim, std::size_t shared_bytes,
              void (*body)(const void*), const void* argument) {
  if (grid.volume() == 0 || dim.volume() == 0 || dim.volume() > kMaxThreads ||
      shared_bytes > kMaxSharedBytes || grid.y > 65535 || grid.z > 65535) {
    throw Error(std::string(kernel) + ": a grid that no device launches, " + place_name(grid) +
                " of " + place_name(dim));
  }
  if (!running) running = std::make_unique<Block>();
  const Running busy;
  std::mt19937 random(current_schedule.seed);
  for (const unsigned index : order_of(grid.volume(), random)) {
    const Dim3 at{index % grid.x, index / grid.x % grid.y, index / (grid.x * grid.y)};
    running->run(kernel, {{0, 0, 0}, at, dim, grid}, shared_bytes, body, argument, random);
  }
  running->shared().release();
  check_guards();
}

void sync_threads(const std::source_location& where) {
  block().arrive_at_barrier(where);
}

void collective(unsigned mask, const char* name, void* operands, Compute compute,
                const std::source_location& where) {
  block().arrive_in_warp(mask, name, operands, compute, where);
}

std::byte* dynamic_shared() {
  return block().shared().dynamic();
}
std::byte* static_shared(const void* tag, std::size_t bytes, std::size_t alignment) {
  return block().shared().array(tag, bytes, alignment);
}
std::uint32_t shared_address(const void* pointer) {
  return block().shared().address(pointer);
}
std::byte* at_shared(std::uint32_t address, std::size_t bytes) {
  return block().shared().at(address, bytes);
}

void copy_async(void* shared, const void* global, std::size_t bytes) {
  if (bytes != 4 && bytes != 8 && bytes != 16) fail("cp.async of an odd size");
  block().shared().at(block().shared().address(shared), bytes);
  if (reinterpret_cast<std::uintptr_t>(global) % bytes != 0)
    fail("cp.async from a misaligned place");
  Thread& thread = block().current();
  fill_poison(shared, bytes);
  thread.copies.push_back({shared, global, bytes, thread.committed_groups});
}

void commit_copies() {
  ++block().current().committed_groups;
}

void wait_copies(int pending_groups) {
  Thread& thread = block().current();
  const int visible = thread.committed_groups - pending_groups;
  std::erase_if(thread.copies, [&](const AsyncCopy& copy) {
    if (copy.group >= visible) return false;
    std::memcpy(copy.to, copy.from, copy.bytes);
    return true;
  });
}

void fail(const std::string& what) {
  throw Error(block().describe(block().current_index()) + ": " + what);
}

void* allocate_device(std::size_t bytes) {
  const std::size_t whole = bytes + 2 * kGuardBytes;
  auto* raw = static_cast<std::byte*>(std::aligned_alloc(256, (whole + 255) / 256 * 256));
  if (raw == nullptr) throw std::bad_alloc();
  std::byte* memory = raw + kGuardBytes;
  fill_poison(memory, bytes);
  fill_guard(raw);
  fill_guard(memory + bytes);
  device_blocks()[memory] = {bytes, raw};
  return memory;
}

void free_device(void* memory) {
  if (memory == nullptr) return;
  const auto found = device_blocks().find(memory);
  if (found == device_blocks().end()) return;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(found->second.raw, found->second.bytes + 2 * kGuardBytes);
#endif
  std::free(found->second.raw);
  device_blocks().erase(found);
}

void check_guards() {
  for (const auto& [memory, buffer] : device_blocks()) {
    const auto* bytes = static_cast<const std::byte*>(memory);
    if (is_whole(buffer.raw) && is_whole(bytes + buffer.bytes)) continue;
    throw Error("a kernel wrote beyond a buffer of " + std::to_string(buffer.bytes) + " bytes");
  }
}

std::size_t device_bytes_in_use() {
  std::size_t bytes = 0;
  for (const auto& [memory, buffer] : device_blocks()) bytes += buffer.bytes;
  return bytes;
}

}  // namespace tessera::emulation
