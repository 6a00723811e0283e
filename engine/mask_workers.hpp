// mask_workers.hpp — the threads that find out which tokens may come next, while the device runs.
//
// Two lanes. Nearly all masks take microseconds: the fast lane computes them beside the device with
// a small budget. One that takes more goes to the slow lane, a thread of low priority that takes
// the constraint's whole budget if need be; its sequence sits out steps meanwhile, nobody else
// does. A sequence that was slow once stays there with all that its matcher does, so that a tenant
// with a hostile constraint has a share of one thread at low priority, and none of the engine's.
//
// A constraint is locked while it is worked on, so the engine thread must not touch another
// sequence of it: is_busy() tells.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/guided_sequence.hpp"

namespace tessera {

class MaskWorkers {
 public:
  using Clock = std::chrono::steady_clock;

  // With no fast threads masks are made by start() itself, whatever they take.
  explicit MaskWorkers(int num_fast_threads);
  ~MaskWorkers();  // ends after the masks that are being made
  MaskWorkers(const MaskWorkers&) = delete;
  MaskWorkers& operator=(const MaskWorkers&) = delete;

  // Begins GuidedSequence::fill(). The threads are made when they are first needed.
  void start(const std::shared_ptr<GuidedSequence>& sequence);

  // Whether a worker is at another sequence of the same constraint, still at the deadline. The
  // engine thread's.
  bool is_busy(const GuidedSequence& sequence, Clock::time_point deadline);

  // Returns when `sequence` is done or at the deadline; whether it is done.
  bool wait(const GuidedSequence& sequence, Clock::time_point deadline);
  // Returns when any has been done since the last call, or at the deadline.
  void wait_for_any(Clock::time_point deadline);

 private:
  struct Lane {
    std::deque<std::shared_ptr<GuidedSequence>> queue;
    std::condition_variable changed;
  };

  void make_threads();
  std::shared_ptr<GuidedSequence> next(Lane& lane);  // null: the end
  void work_fast();
  void work_slow();
  void finish(const std::shared_ptr<GuidedSequence>& sequence);

  const int num_fast_threads_;
  std::vector<std::shared_ptr<GuidedSequence>> started_;  // the engine thread's: perhaps not done

  std::mutex mutex_;
  std::condition_variable done_;
  // guarded by mutex_
  Lane fast_;
  Lane slow_;
  std::uint64_t num_done_ = 0;
  std::uint64_t num_seen_ = 0;  // of them, at the last wait_for_any
  bool stopping_ = false;

  std::vector<std::jthread> threads_;
};

}  // namespace tessera
