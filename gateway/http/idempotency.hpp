// idempotency.hpp — answers that are given again when a request is sent again.
//
// A client that does not know whether its request arrived sends it once more under the same
// Idempotency-Key, and gets the answer of the first one without its effect. An answer is kept for a
// day, in memory and sealed in the store (answer_vault.hpp), so that a restart does not forget it.
// It belongs to the API key that asked, since it may hold a secret that is shown once. A request
// whose process died before its answer was kept is a first one again: what it made is then found by
// its natural key (a project's slug, an adapter's content).
//
// Not kept is what says "not now" (408, 429, 503, 504): a later request may do better.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/http/http.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

class AnswerVault;

inline constexpr std::size_t kMaxIdempotencyKeyChars = 255;

struct IdempotencyLimits {
  std::chrono::seconds kept = std::chrono::hours(24);
  std::size_t answers_of_caller = 1000;      // kept and under way
  std::size_t answer_bytes = 256 * 1024;     // a longer answer is not kept
  std::size_t all_bytes = 64 * 1024 * 1024;  // of all callers' answers
};

// Thread-safe.
class IdempotentAnswers {
 public:
  // A request as far as it matters here.
  struct Asked {
    KeyId caller = {};
    ContentDigest place = {};    // caller, method, target and Idempotency-Key
    ContentDigest content = {};  // the body
  };
  enum class Turn : std::uint8_t {
    kFirst,         // the asker's, who ends it with keep() or forget()
    kAgain,         // `answer` was given before
    kOtherContent,  // the place was used with another body
    kUnderWay,      // the first has no answer yet; or the caller has too many of those
  };
  struct Outcome {
    Turn turn = Turn::kFirst;
    HttpResponse answer = {};  // of kAgain
  };

  explicit IdempotentAnswers(const IdempotencyLimits& limits = {}) : limits_(limits) {}

  // Goes on with what the vault has, and keeps answers there too. Before anything else is asked.
  // Errors: those of AnswerVault::load.
  Result<void> attach(std::shared_ptr<AnswerVault> vault, WallTime now);

  Outcome begin(const Asked& asked, WallTime now);

  // The answer of the request whose turn it is. The oldest answers make room for it.
  void keep(const ContentDigest& place, const HttpResponse& answer);
  // It has none that should be given again.
  void forget(const ContentDigest& place);

  std::size_t size() const;   // of answers kept and requests under way
  std::size_t bytes() const;  // of answers kept

 private:
  using Places = std::list<ContentDigest>;  // oldest first
  struct Entry {
    KeyId caller;
    ContentDigest content;
    WallTime begun;
    std::optional<HttpResponse> answer = {};
    std::size_t bytes = 0;
    Places::iterator in_all = {};
    Places::iterator in_caller = {};
  };

  void add(const Asked& asked, WallTime now) TESSERA_REQUIRES(mutex_);
  void erase(const ContentDigest& place) TESSERA_REQUIRES(mutex_);
  void expire(WallTime now) TESSERA_REQUIRES(mutex_);
  bool erase_oldest_answer(const Places& places) TESSERA_REQUIRES(mutex_);
  void set_answer(Entry& entry, HttpResponse answer) TESSERA_REQUIRES(mutex_);
  std::vector<ContentDigest> take_erased() TESSERA_REQUIRES(mutex_);
  void erase_stored(const std::vector<ContentDigest>& places);

  const IdempotencyLimits limits_;
  mutable Mutex mutex_;
  std::unordered_map<ContentDigest, Entry, DigestHash> entries_ TESSERA_GUARDED_BY(mutex_);
  Places all_ TESSERA_GUARDED_BY(mutex_);
  std::unordered_map<KeyId, Places> of_caller_ TESSERA_GUARDED_BY(mutex_);
  std::size_t bytes_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::vector<ContentDigest> erased_ TESSERA_GUARDED_BY(mutex_);  // that the vault still has
  std::shared_ptr<AnswerVault> vault_;                            // null: memory only
};

// Whether `key` can be an Idempotency-Key: 1 to 255 printable ASCII characters.
bool is_idempotency_key(std::string_view key);

}  // namespace tessera
