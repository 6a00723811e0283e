#include "gateway/http/io_loops.hpp"

namespace tessera {

IoLoops::IoLoops(int count) {
  for (int i = 0; i < count; ++i) {
    Context& context = *contexts_.emplace_back(std::make_unique<Context>(1));  // thread
    work_.push_back(boost::asio::make_work_guard(context));
  }
}

boost::asio::io_context& IoLoops::next() {
  return *contexts_[num_taken_.fetch_add(1, std::memory_order_relaxed) % contexts_.size()];
}

void IoLoops::start() {
  for (const auto& context : contexts_) threads_.emplace_back([&loop = *context] { loop.run(); });
}

void IoLoops::stop() {
  for (const auto& context : contexts_) context->stop();
  threads_.clear();  // joins
}

}  // namespace tessera
