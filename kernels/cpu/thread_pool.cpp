#include "kernels/cpu/thread_pool.hpp"

#include <cassert>

#include <pthread.h>
#include <sched.h>

namespace tessera {
namespace {

// Looking at the clock costs as much as a look at a few cache lines: not at every pause.
constexpr int kPausesPerLook = 64;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns whether `value` came to differ from `old` within the budget.
bool spin_while_equal(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  using Clock = std::chrono::steady_clock;
  const auto give_up = Clock::now() + kSpinBudget;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (value.load(std::memory_order_acquire) != old) return true;
      pause();
    }
  } while (Clock::now() < give_up);
  return false;
}

// The CPUs this process may run on; none if the kernel does not say (it has more than 1024).
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

bool pin(pthread_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  return pthread_setaffinity_np(thread, sizeof(set), &set) == 0;
}

}  // namespace

ThreadPool::ThreadPool(int num_threads, Pinning pinning)
    : may_spin_(num_threads <= static_cast<int>(std::thread::hardware_concurrency())),
      pinning_(pinning),
      shares_(static_cast<std::size_t>(num_threads)) {
  assert(num_threads >= 1);
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { work_loop(thread); });
  }
  if (pinning == Pinning::kOneCpuEach) pin_workers();
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  start({});
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::pin_workers() {
  const std::vector<int> cpus = allowed_cpus();
  for (std::size_t i = 0; i < workers_.size() && i + 1 < cpus.size(); ++i) {
    if (pin(workers_[i].native_handle(), cpus[i + 1])) ++num_pinned_;
  }
}

void ThreadPool::pin_caller() {
  if (pinning_ != Pinning::kOneCpuEach) return;
  const std::vector<int> cpus = allowed_cpus();
  if (!cpus.empty()) pin(pthread_self(), cpus.front());
}

void ThreadPool::start(Job job) {
  job_ = job;
  working_.store(static_cast<std::uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadPool::wait_for_workers() {
  for (std::uint32_t left = working_.load(std::memory_order_acquire); left != 0;
       left = working_.load(std::memory_order_acquire)) {
    wait_while_equal(working_, left);
  }
}

// Returns once `value` differs from `old`: spins first, then sleeps.
void ThreadPool::wait_while_equal(const std::atomic<std::uint32_t>& value,
                                  std::uint32_t old) const {
  if (may_spin_ && spin_while_equal(value, old)) return;
  value.wait(old, std::memory_order_acquire);
}

void ThreadPool::work_loop(int thread) {
  for (std::uint32_t seen = 0;; ++seen) {
    wait_while_equal(generation_, seen);
    if (stopping_) return;
    job_.call(job_.context, thread);
    if (working_.fetch_sub(1, std::memory_order_release) == 1) working_.notify_one();
  }
}

}  // namespace tessera
