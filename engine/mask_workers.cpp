#include "engine/mask_workers.hpp"

#include <algorithm>
#include <exception>

#include "storage/background.hpp"

namespace tessera {
namespace {

// Some milliseconds at most; see guided::Fuel.
constexpr std::uint64_t kFastFuel = 20'000;

// Memory is what may run out; who has none for the first try has none for the second.
bool fill_quickly(GuidedSequence& sequence) {
  try {
    return sequence.fill(kFastFuel);
  } catch (const std::exception&) {
    return false;
  }
}

void fill_at_any_cost(GuidedSequence& sequence) {
  try {
    sequence.fill();
  } catch (const std::exception&) {
    sequence.fail(Code::kServerIsOverloaded, "The server has no memory for the constraint.");
  }
}

}  // namespace

MaskWorkers::MaskWorkers(int num_fast_threads) : num_fast_threads_(num_fast_threads) {}

MaskWorkers::~MaskWorkers() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  fast_.changed.notify_all();
  slow_.changed.notify_all();
}

void MaskWorkers::make_threads() {
  if (!threads_.empty()) return;
  for (int i = 0; i < num_fast_threads_; ++i) {
    threads_.emplace_back([this] { work_fast(); });
  }
  threads_.emplace_back([this] {
    step_back(Behind::kNothing);
    work_slow();
  });
}

void MaskWorkers::start(const std::shared_ptr<GuidedSequence>& sequence) {
  if (num_fast_threads_ == 0) return sequence->fill();
  make_threads();
  std::erase_if(started_, [](const auto& started) { return started->done(); });
  started_.push_back(sequence);
  sequence->pending_.store(true, std::memory_order_relaxed);
  Lane& lane = sequence->slow ? slow_ : fast_;
  {
    std::lock_guard lock(mutex_);
    lane.queue.push_back(sequence);
  }
  lane.changed.notify_one();
}

bool MaskWorkers::is_busy(const GuidedSequence& sequence, Clock::time_point deadline) {
  return !std::ranges::all_of(started_, [&](const auto& started) {
    return started.get() == &sequence || started->constraint() != sequence.constraint() ||
           wait(*started, deadline);
  });
}

bool MaskWorkers::wait(const GuidedSequence& sequence, Clock::time_point deadline) {
  if (sequence.done()) return true;
  std::unique_lock lock(mutex_);
  return done_.wait_until(lock, deadline, [&] { return sequence.done(); });
}

void MaskWorkers::wait_for_any(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  done_.wait_until(lock, deadline, [&] { return num_done_ != num_seen_; });
  num_seen_ = num_done_;
}

std::shared_ptr<GuidedSequence> MaskWorkers::next(Lane& lane) {
  std::unique_lock lock(mutex_);
  lane.changed.wait(lock, [&] { return stopping_ || !lane.queue.empty(); });
  if (stopping_) return nullptr;
  auto sequence = std::move(lane.queue.front());
  lane.queue.pop_front();
  return sequence;
}

void MaskWorkers::work_fast() {
  while (auto sequence = next(fast_)) {
    if (fill_quickly(*sequence)) {
      finish(sequence);
      continue;
    }
    sequence->slow = true;
    {
      std::lock_guard lock(mutex_);
      slow_.queue.push_back(std::move(sequence));
    }
    slow_.changed.notify_one();
  }
}

void MaskWorkers::work_slow() {
  while (auto sequence = next(slow_)) {
    fill_at_any_cost(*sequence);
    finish(sequence);
  }
}

void MaskWorkers::finish(const std::shared_ptr<GuidedSequence>& sequence) {
  {
    std::lock_guard lock(mutex_);
    sequence->pending_.store(false, std::memory_order_release);
    ++num_done_;
  }
  done_.notify_all();
}

}  // namespace tessera
