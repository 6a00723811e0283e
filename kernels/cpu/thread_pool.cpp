#include "kernels/cpu/thread_pool.hpp"

#include <cassert>

namespace tessera {
namespace {

// Between the stages of a step there are microseconds; spinning for longer than some tens of them
// takes the core from others who may be waiting for it.
constexpr int kSpins = 1000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns once `value` differs from `old`: spins first, then sleeps.
void wait_while_equal(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  assert(num_threads >= 1);
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { work_loop(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  start({});
  for (std::thread& worker : workers_) worker.join();
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

void ThreadPool::work_loop(int thread) {
  for (std::uint32_t seen = 0;; ++seen) {
    wait_while_equal(generation_, seen);
    if (stopping_) return;
    job_.call(job_.context, thread);
    if (working_.fetch_sub(1, std::memory_order_release) == 1) working_.notify_one();
  }
}

}  // namespace tessera
