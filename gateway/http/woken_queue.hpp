// woken_queue.hpp — the wakeups of one loop that other threads have woken, and one bell for all.
//
// Asio's own post from another thread holds the loop's lock while it rings: where both share a
// processor the loop wakes within that call, finds the lock taken, and sleeps once more. Here the
// lock is free before the bell rings, and it rings once however many are woken until the loop hears
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace tessera {

class Wakeup;

// Thread-safe until close(), which nobody else's call may overlap. Held by its loop and by the
// wakeups.
class WokenQueue : public std::enable_shared_from_this<WokenQueue> {
 public:
  // The one of the loop, which is an io_context; made at the first call.
  static std::shared_ptr<WokenQueue> of(const boost::asio::any_io_executor& loop);

  explicit WokenQueue(const boost::asio::any_io_executor& loop);  // throws std::system_error

  // The loop calls its heard(), later. After close(): nothing does.
  void push(std::shared_ptr<Wakeup> woken);

  void listen();  // once
  void close();   // the loop is about to go

 private:
  void hear();

  std::mutex mutex_;
  std::vector<std::shared_ptr<Wakeup>> woken_;  // guarded by mutex_
  bool is_closed_ = false;                      // guarded by mutex_
  std::vector<std::shared_ptr<Wakeup>> heard_;  // the loop's; kept for its room
  std::uint64_t rung_ = 0;                      // how often; read, and of no interest
  std::optional<boost::asio::posix::stream_descriptor> bell_;  // an eventfd; none once closed
};

}  // namespace tessera
