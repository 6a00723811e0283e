// io_loops.hpp — the threads that read and write connections, each with an event loop of its own.
//
// A connection stays on the loop that it was accepted for. What belongs to it runs on that one
// thread, in order, without a strand and its hand-overs; loops share nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace tessera {

// Owned by main, outlives what runs on it. next() may be called from any thread.
class IoLoops {
 public:
  explicit IoLoops(int count);  // at least 1
  ~IoLoops() { stop(); }
  IoLoops(const IoLoops&) = delete;
  IoLoops& operator=(const IoLoops&) = delete;

  // The loops in turn.
  boost::asio::io_context& next();

  void start();
  // Returns when the threads have ended; what was to be done then is not. Posting is still allowed.
  void stop();

 private:
  using Context = boost::asio::io_context;

  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<boost::asio::executor_work_guard<Context::executor_type>> work_;
  std::atomic<std::size_t> num_taken_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace tessera
