// key_charges.hpp — that a request which is sent again is not charged again.
//
// An answer of the model is not kept, so a chat that comes again under its Idempotency-Key is
// generated anew; but it is not paid for twice (http-api.md 2.0). Once a request of a key had the
// whole of its answer, the later ones of the same key and body cost nothing; what one that was cut
// short has cost is set against the next. They count as requests and tokens all the same: limits
// are of what is done, not of what is paid.
//
// What a key was charged lies in the store, beside the usage records that say so and in their
// batches (tenancy/usage_ledger.hpp): it outlives the process, and no crash comes between the two.
// It holds for a day. Only the requests under way are in memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"
#include "tenancy/money.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

inline constexpr std::chrono::hours kKeyChargeKept{24};
// A key is for a request that is tried again, not for free answers without end.
inline constexpr std::int64_t kMaxRequestsOfKey = 10;

class KeyCharges;

// One request's turn at its key; nobody else has one until it ends. Used by one thread at a time.
class KeyTurn {
 public:
  KeyTurn(KeyCharges& charges, KeyCharge before) : charges_(charges), before_(std::move(before)) {}
  ~KeyTurn() { end(); }
  KeyTurn(const KeyTurn&) = delete;
  KeyTurn& operator=(const KeyTurn&) = delete;

  // Whether it will cost nothing, whatever it comes to.
  bool is_paid() const { return before_.complete; }
  // What is left to pay of what it comes to.
  Money due(Money cost) const;
  // Makes the record's cost what is due of it, and says what it was charged as before. `whole`: the
  // whole answer was made.
  void settle(bool whole, UsageRecord& record);
  // The record could not be written yet: what it says is remembered here until it is.
  void hold();
  // The next one's turn; after the record was written.
  void end();

 private:
  KeyCharges& charges_;
  const KeyCharge before_;  // `requests` counts this one
  std::shared_ptr<const KeyCharge> after_ = {};
  bool ended_ = false;
};

// Thread-safe; outlives its turns, as the store does it.
class KeyCharges {
 public:
  explicit KeyCharges(Store& store) : store_(store) {}

  enum class Refusal : std::uint8_t {
    kOtherContent,  // the key was used with another body
    kUnderWay,      // its last request has no answer yet
    kUsedUp,        // it had kMaxRequestsOfKey
  };
  struct Outcome {
    std::shared_ptr<KeyTurn> turn = {};  // null: refused
    Refusal refusal = {};
  };
  // `place` is of caller, method, target and key, `content` of the body. Errors: those of Store,
  // kCorrupt.
  Result<Outcome> begin(const ContentDigest& place, const ContentDigest& content,
                        const RequestId& request, WallTime now);

 private:
  friend class KeyTurn;

  Result<std::optional<KeyCharge>> find(const ContentDigest& place, WallTime now);
  Result<void> forget_old(std::uint32_t today);
  void hold(const KeyCharge& charge);
  void end(const ContentDigest& place);

  Store& store_;
  Mutex mutex_;
  // By place: contents of the requests under way, and what the store should have and has not.
  std::unordered_map<ContentDigest, ContentDigest, DigestHash> under_way_
      TESSERA_GUARDED_BY(mutex_);
  std::unordered_map<ContentDigest, KeyCharge, DigestHash> held_ TESSERA_GUARDED_BY(mutex_);
  std::uint32_t swept_day_ TESSERA_GUARDED_BY(mutex_) = 0;  // nothing older than the day before it
};

}  // namespace tessera
