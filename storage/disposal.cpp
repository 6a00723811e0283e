#include "storage/disposal.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "storage/background.hpp"

namespace tessera {
namespace {

class Disposal {
 public:
  Disposal() : thread_([this] { run(); }) {}

  ~Disposal() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  Disposal(const Disposal&) = delete;
  Disposal& operator=(const Disposal&) = delete;

  void add(std::shared_ptr<const void> object) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() >= kMostDisposals) return;  // destroyed by the caller's return
      waiting_.push_back(std::move(object));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    step_back();
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      std::shared_ptr<const void> object = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      object.reset();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<const void>> waiting_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace

void dispose_later(std::shared_ptr<const void> object) noexcept {
  try {
    static Disposal disposal;
    disposal.add(std::move(object));
  } catch (const std::exception&) {
    // No thread or no memory: it is destroyed with the parameter.
  }
}

}  // namespace tessera
