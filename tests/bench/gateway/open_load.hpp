// open_load.hpp — requests at times that do not depend on the answers.
//
// wrk sends a connection's next request when it has the last answer, so that a server that stalls
// is asked less meanwhile and its stall counts once. Here request i is due at start + i / rate and
// its latency counts from then on, whether a connection was free or not.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct LoadPlan {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  double rate = 1000.0;  // requests a second
  int num_connections = 64;
  std::chrono::milliseconds warm_up{1000};  // not counted
  std::chrono::milliseconds measured{5000};
  std::string method = "POST";
  std::string path;
  std::string body;               // JSON; empty: none
  std::vector<std::string> keys;  // API keys, in turn; empty: none is shown
  // Between requests. If not, it takes a core, and what a core takes to wake is in no latency.
  bool sleeps = true;
};

struct LoadReport {
  std::int64_t num_answers = 0;  // of the measured time
  std::int64_t num_refused = 0;  // of them, those that were not 200
  std::int64_t num_broken = 0;   // connections that ended
  double seconds = 0.0;          // that the answers took to come
  std::vector<double> micros;    // latencies, sorted
};

// Throws std::runtime_error if the server cannot be reached.
LoadReport run_load(const LoadPlan& plan);

}  // namespace tessera
