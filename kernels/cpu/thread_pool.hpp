// thread_pool.hpp — a few threads that do the same piece of work together, many times a step.
//
// run(work) calls work(thread) once on every thread, the caller being thread 0, and returns when
// all have returned. Who does what is decided by the thread's index alone (part_of), never by who
// is free first, so that a run is repeatable. Between two runs of a step a worker spins for some
// tens of microseconds; then it sleeps in the kernel. There are no locks, and a run allocates
// nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace tessera {

struct Range {
  int begin;
  int end;
};

// The part of [0, count) that `thread` of `num_threads` does: contiguous, sizes differ by one.
constexpr Range part_of(int count, int thread, int num_threads) {
  const auto cut = [&](std::int64_t at) { return static_cast<int>(count * at / num_threads); };
  return {cut(thread), cut(thread + 1)};
}

// run() is called by one thread at a time, and not from within work.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // >= 1, the caller included
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // `work` is called as work(int thread) and must not throw.
  template <class Work>
  void run(const Work& work) {
    start({[](const void* context, int thread) { (*static_cast<const Work*>(context))(thread); },
           &work});
    work(0);
    wait_for_workers();
  }

 private:
  struct Job {
    void (*call)(const void* context, int thread) = nullptr;
    const void* context = nullptr;
  };

  void start(Job job);
  void wait_for_workers();
  void work_loop(int thread);

  Job job_;                // written before generation_ is raised, read after it was seen
  bool stopping_ = false;  // the same
  alignas(64) std::atomic<std::uint32_t> generation_ = 0;  // the number of runs started
  alignas(64) std::atomic<std::uint32_t> working_ = 0;     // workers that have not finished
  std::vector<std::thread> workers_;
};

}  // namespace tessera
