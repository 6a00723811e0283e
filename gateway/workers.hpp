// workers.hpp — a few threads for what would hold up other connections: parsing, tokenising,
// validating, disk.
#pragma once

#include <functional>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

namespace tessera {

// Thread-safe. Owned by main; joined before the io context that awaits its jobs is destroyed.
class Workers {
 public:
  explicit Workers(int num_threads) : pool_(static_cast<std::size_t>(num_threads)) {}

  // Runs `job` on a worker; the caller goes on, on its own executor, when it is done. `job` must
  // not throw.
  boost::asio::awaitable<void> run(std::function<void()> job);

  // Runs `job` on a worker, when its turn comes; nobody waits for it. `job` must not throw.
  void post(std::function<void()> job);

  // Waits for the jobs that have begun or are queued.
  void join() { pool_.join(); }

 private:
  boost::asio::thread_pool pool_;
};

}  // namespace tessera
