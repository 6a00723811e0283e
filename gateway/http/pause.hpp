// pause.hpp — a coroutine that waits until something on its own loop goes on with it.
//
// A timer that is cancelled would do; but what waits on one goes behind all else that the loop has
// to do, and the loop asks the kernel for more of it first. Here it goes on there and then, as
// within the handler of an operation of its own.
#pragma once

#include <optional>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list_hook.hpp>

namespace tessera {

class Pauses;

// Used on one loop, which is an io_context. A loop that is destroyed takes with it what pauses.
class Pause : public boost::intrusive::list_base_hook<
                  boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  explicit Pause(const boost::asio::any_io_executor& loop);
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  // Until end(). One coroutine at a time.
  boost::asio::awaitable<void> wait();

  // The coroutine, if one waits, goes on before this returns; it may well destroy this object. From
  // a handler, as its last act, not from another coroutine.
  void end();

 private:
  friend class Pauses;
  using Handler = boost::asio::async_result<boost::asio::use_awaitable_t<>, void()>::handler_type;

  std::optional<Handler> take();

  Pauses& all_;  // that wait on the loop
  std::optional<Handler> waiting_;
};

}  // namespace tessera
