// keyed_requests.hpp — requests under an Idempotency-Key, which come again and again, also after
// the process that had them first was killed.
//
// What a request asks for follows from its key's line, so that whoever reads the line can ask
// again:
//
//     <key> <tenant> <prompt tokens> <answer tokens>
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <istream>
#include <random>
#include <string>
#include <vector>

#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"

namespace tessera::chaos {

struct KeyedRequest {
  std::uint64_t key = 0;
  std::size_t tenant = 0;
  int num_prompt = 0;
  int num_answer = 0;

  ContentDigest place() const {
    ContentDigest digest;
    std::memcpy(digest.bytes.data(), &key, sizeof key);
    return digest;
  }
  std::vector<TokenId> prompt() const {
    std::mt19937_64 random(key);
    std::vector<TokenId> tokens;
    for (int i = 0; i < num_prompt; ++i) {
      tokens.push_back(static_cast<TokenId>('a' + static_cast<int>(random() % 26)));
    }
    return tokens;
  }
  std::string line() const {
    return std::to_string(key) + ' ' + std::to_string(tenant) + ' ' + std::to_string(num_prompt) +
           ' ' + std::to_string(num_answer);
  }
};

inline std::istream& operator>>(std::istream& in, KeyedRequest& request) {
  return in >> request.key >> request.tenant >> request.num_prompt >> request.num_answer;
}

// Those that may be asked again, fewer times in all than a key is good for.
class KeyedRequests {
 public:
  static constexpr int kMaxTimes = 8;
  static constexpr int kMaxTimesBefore = 4;  // of one that another process goes on with

  void add(const KeyedRequest& request) {
    kept_.push_back({request, 1});
    if (kept_.size() > kMaxKept) kept_.erase(kept_.begin());
  }
  void read(const std::string& file) {
    std::ifstream lines(file);
    for (KeyedRequest request; lines >> request;) kept_.push_back({request, kMaxTimesBefore});
  }
  bool empty() const { return kept_.empty(); }
  // One of them; not if there is none.
  KeyedRequest again(std::mt19937_64& random) {
    const auto kept = kept_.begin() + static_cast<std::ptrdiff_t>(random() % kept_.size());
    const KeyedRequest request = kept->request;
    if (++kept->times == kMaxTimes) kept_.erase(kept);
    return request;
  }

 private:
  static constexpr std::size_t kMaxKept = 200;

  struct Kept {
    KeyedRequest request;
    int times;
  };
  std::vector<Kept> kept_;
};

}  // namespace tessera::chaos
