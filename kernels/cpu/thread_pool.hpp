// thread_pool.hpp — a few threads that do the same piece of work together, many times a step.
//
// run(work) calls work(thread) once on every thread, the caller being thread 0, and returns when
// all have returned: who does what is decided by the thread's index (part_of). deal(count, work)
// calls work(item) once for every item: a thread does its own part first, one item after the other,
// and then what others have not begun of theirs, so that a thread that was pushed aside for a
// moment keeps nobody waiting for longer than its item takes. It is for work whose result does not
// depend on who does it. Between two runs of a step a worker spins for up to kSpinBudget; then it
// sleeps in the kernel. There are no locks, and neither allocates anything.
//
// Pinning is a choice, and right where there is a thread for every CPU. A thread then finds in its
// caches, and on a machine of several memory nodes in its own memory, what it read and wrote in the
// step before. And one that another task has pushed aside for a moment waits where it is: the
// kernel would move it to the CPU of one that has done its part and sleeps, and soon both want that
// one. Threads that are fewer than the CPUs the kernel places better than we.
#pragma once

#include <atomic>
#include <chrono>
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

// About what it costs to put a thread to sleep and to wake it: spinning for as long as that is
// never more than twice as dear as the better of the two. The stages of a step are a few
// microseconds apart, far less; the steps of a loaded engine, hundreds.
inline constexpr std::chrono::microseconds kSpinBudget{50};

enum class Pinning : std::uint8_t { kNone, kOneCpuEach };

// run() and deal() are called by one thread at a time, and not from within work.
class ThreadPool {
 public:
  // num_threads >= 1, the caller included. With kOneCpuEach, worker i is pinned to the i-th CPU on
  // which this process may run, counted from 0; a worker for which there is none, or which the
  // kernel refuses to pin, goes where it likes. The caller, thread 0, has other things to do in its
  // life and is pinned only by pin_caller().
  explicit ThreadPool(int num_threads, Pinning pinning = Pinning::kNone);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }
  int num_pinned() const { return num_pinned_; }  // of the workers

  // With kOneCpuEach, pins the calling thread to the first CPU on which this process may run, and
  // so for good; for a thread that does little but run(). Threads that it starts inherit this.
  void pin_caller();

  // `work` is called as work(int thread) and must not throw.
  template <class Work>
  void run(const Work& work) {
    start({[](const void* context, int thread) { (*static_cast<const Work*>(context))(thread); },
           &work});
    work(0);
    wait_for_workers();
  }

  // `work` is called as work(int item) for all items in [0, count) and must not throw.
  template <class Work>
  void deal(int count, const Work& work) {
    for (Share& share : shares_) share.num_begun.store(0, std::memory_order_relaxed);
    run([&](int thread) {
      for (int i = 0; i < num_threads(); ++i) {
        const int owner = (thread + i) % num_threads();
        const Range share = part_of(count, owner, num_threads());
        for (int item = share.begin + begin_next(owner); item < share.end;
             item = share.begin + begin_next(owner)) {
          work(item);
        }
      }
    });
  }

 private:
  struct Job {
    void (*call)(const void* context, int thread) = nullptr;
    const void* context = nullptr;
  };

  // Of the items that are a thread's own in deal(). Each has a cache line of its own.
  struct alignas(64) Share {
    std::atomic<int> num_begun = 0;  // may be more than there are
  };

  int begin_next(int owner) {
    return shares_[static_cast<std::size_t>(owner)].num_begun.fetch_add(1,
                                                                        std::memory_order_relaxed);
  }
  void pin_workers();
  void start(Job job);
  void wait_for_workers();
  void wait_while_equal(const std::atomic<std::uint32_t>& value, std::uint32_t old) const;
  void work_loop(int thread);

  // On one cache line, so that a worker that sees a run also has it.
  alignas(64) std::atomic<std::uint32_t> generation_ = 0;  // the number of runs started
  bool stopping_ = false;  // written before generation_ is raised, read after it was seen
  Job job_;                // the same
  alignas(64) std::atomic<std::uint32_t> working_ = 0;  // workers that have not finished
  alignas(64) bool may_spin_;  // there is a CPU for every thread; else a spin keeps one from work
  const Pinning pinning_;
  int num_pinned_ = 0;
  std::vector<Share> shares_;
  std::vector<std::thread> workers_;
};

}  // namespace tessera
