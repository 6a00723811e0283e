// event_stream.hpp — server-sent events that go on until somebody ends them.
#pragma once

#include <functional>
#include <string>

namespace tessera {

// What happens, as it happens, for one client. Made by a handler; from then on the session's strand
// drives it: take() whenever `wake` was called and before each heartbeat, until ended() says so or
// the client has gone. Destroyed there.
class EventStream {
 public:
  virtual ~EventStream() = default;

  // `wake` is called, from any thread, when take() may have news or ended() has come true.
  virtual void start(std::function<void()> wake) = 0;
  // The events since the last call, whole and in sse.hpp's form; empty if there are none.
  virtual std::string take() = 0;
  // Whether no more will come.
  virtual bool ended() = 0;
};

}  // namespace tessera
