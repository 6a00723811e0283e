// token_stream.hpp — the one channel by which generated tokens leave the engine thread.
//
// Exactly two parties hold a TokenStream: the engine, which pushes, and the connection that asked,
// which takes. The engine never waits for the connection: what it pushes is bounded by the
// request's max_tokens. The connection is told that something is there through `wake`, which it
// chose; in the gateway that cancels a timer on the connection's strand.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// kStop: an end token or one of stop_token_ids was generated, or the constraint allows no more.
// kLength: max_tokens were.
// kCancelled: the reader cancelled, or the engine was shut down. kError: see Finish::code.
enum class FinishReason : std::uint8_t { kStop, kLength, kCancelled, kError };
inline constexpr int kNumFinishReasons = 4;

struct TopLogprob {
  TokenId id;
  float logprob;
  bool operator==(const TopLogprob&) const = default;
};

// A log-probability is the model's own: log softmax of the raw logits, before constraint,
// temperature and filters. It is 0 unless the request asked for log-probabilities.
struct GeneratedToken {
  TokenId id = 0;
  float logprob = 0.0F;
  std::vector<TopLogprob> top = {};  // the most likely ones, best first; as many as were asked for
  std::vector<float> logits = {};    // (vocab_size,) raw, if SamplingParams::keep_logits
  bool operator==(const GeneratedToken&) const = default;
};

// How an answer ended. The token that stopped it (kStop) is counted, not pushed.
struct Finish {
  FinishReason reason = FinishReason::kStop;
  int generated_tokens = 0;        // to be billed: those pushed, and the one that stopped it
  int cached_prompt_tokens = 0;    // part of the prompt that a cached prefix served
  int computed_prompt_tokens = 0;  // of the prompt, cached or computed; 0 if it never ran
  // kError only: the error's name for clients, and one sentence that may be shown to them.
  Code code = Code::kInternalError;
  std::string message = {};
  std::vector<float> state = {};  // (hidden,) that a PromptOutput asked for
};

// What has arrived since the last take(). `finished` is set in the last one only.
struct TokenEvents {
  std::vector<GeneratedToken> tokens = {};
  // Of PromptOutput::kLogprobs: the prompt's tokens but its first, all of them before `tokens`.
  std::vector<GeneratedToken> prompt = {};
  std::optional<Finish> finished = {};
};

// Thread-safe.
class TokenStream {
 public:
  // `wake` is called from the engine thread, after the events are visible, without locks held. It
  // must not block and must not throw.
  explicit TokenStream(std::function<void()> wake) : wake_(std::move(wake)) {
    events_.tokens.reserve(kReservedTokens);
  }

  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  // Engine side. finish() comes last and once.
  void push(GeneratedToken token) {
    {
      std::lock_guard lock(mutex_);
      events_.tokens.push_back(std::move(token));
    }
    wake_();
  }
  // Before a finish() that follows at once: one wake is enough for both.
  void push_last(GeneratedToken token) {
    const std::lock_guard lock(mutex_);
    events_.tokens.push_back(std::move(token));
  }
  void push_prompt(GeneratedToken token) {
    {
      std::lock_guard lock(mutex_);
      events_.prompt.push_back(std::move(token));
    }
    wake_();
  }
  // Several that are not sampled, without log-probabilities.
  void push(std::span<const TokenId> ids) {
    {
      std::lock_guard lock(mutex_);
      for (const TokenId id : ids) events_.tokens.push_back({.id = id});
    }
    wake_();
  }
  void finish(Finish finish) {
    {
      std::lock_guard lock(mutex_);
      events_.finished = std::move(finish);
    }
    wake_();
  }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // Connection side. cancel() takes effect at the start of the engine's next step; the stream is
  // then finished with kCancelled, unless it was finished already.
  TokenEvents take() {
    TokenEvents events;
    {
      const std::lock_guard lock(mutex_);
      const bool nothing = events_.tokens.empty() && events_.prompt.empty() && !events_.finished;
      if (nothing && events_.tokens.capacity() >= kReservedTokens) return events;
    }
    events.tokens.reserve(kReservedTokens);  // here, so that the engine need not allocate
    const std::lock_guard lock(mutex_);
    std::swap(events, events_);
    return events;
  }
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kReservedTokens = 16;

  const std::function<void()> wake_;
  std::atomic<bool> cancelled_ = false;
  std::mutex mutex_;
  TokenEvents events_;  // guarded by mutex_
};

}  // namespace tessera
