#include "gateway/inference/key_charges.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "storage/keys.hpp"
#include "storage/log.hpp"
#include "tenancy/calendar.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

constexpr std::size_t kErasedAtOnce = 64;  // a request may have to wait for as many

bool is_paid_better(const KeyCharge& charge, const KeyCharge& other) {
  return std::pair(charge.complete, charge.charged) > std::pair(other.complete, other.charged);
}

std::uint32_t day_number(WallTime time) {
  return static_cast<std::uint32_t>(day_of(time).time_since_epoch().count());
}

}  // namespace

Money KeyTurn::due(Money cost) const {
  if (is_paid()) return {};
  return {.pico_dollars =
              std::max<std::int64_t>(cost.pico_dollars - before_.charged.pico_dollars, 0)};
}

void KeyTurn::settle(bool whole, UsageRecord& record) {
  const Money cost = record.cost;
  record.cost = due(cost);
  const bool was_charged = is_paid() || before_.charged > Money();
  KeyCharge after = before_;
  if (was_charged) {
    record.charged_as = before_.first;
  } else {
    after.first = record.request;
  }
  after.charged += record.cost;
  after.complete = after.complete || whole;
  after_ = std::make_shared<const KeyCharge>(after);
  record.key_charge = after_;
}

void KeyTurn::hold() {
  if (after_) charges_.hold(*after_);
}

void KeyTurn::end() {
  if (!std::exchange(ended_, true)) charges_.end(before_.place);
}

Result<KeyCharges::Outcome> KeyCharges::begin(const ContentDigest& place,
                                              const ContentDigest& content,
                                              const RequestId& request, WallTime now) {
  const MutexLock lock(mutex_);
  if (const auto other = under_way_.find(place); other != under_way_.end()) {
    const bool same = other->second == content;
    return Outcome{.refusal = same ? Refusal::kUnderWay : Refusal::kOtherContent};
  }
  auto before = find(place, now);
  if (!before) return before.error();
  KeyCharge charge{.place = place, .content = content, .first = request, .begun = now};
  if (*before) charge = **before;
  if (charge.content != content) return Outcome{.refusal = Refusal::kOtherContent};
  if (charge.requests >= kMaxRequestsOfKey) return Outcome{.refusal = Refusal::kUsedUp};
  ++charge.requests;
  under_way_.emplace(place, content);
  return Outcome{.turn = std::make_shared<KeyTurn>(*this, std::move(charge))};
}

// One that came first yesterday may still hold, and one that came tomorrow, by a clock that has
// been set back over midnight since. Of several the one that has been paid for counts.
Result<std::optional<KeyCharge>> KeyCharges::find(const ContentDigest& place, WallTime now) {
  const auto holds = [now](const KeyCharge& charge) { return charge.begun + kKeyChargeKept > now; };
  const auto held = held_.find(place);
  if (held != held_.end() && holds(held->second)) return std::optional(held->second);
  const std::uint32_t today = day_number(now);
  if (auto forgotten = forget_old(today); !forgotten) return forgotten.error();
  std::optional<KeyCharge> best;
  for (const std::uint32_t day : {today, today - 1, today + 1}) {
    const auto text = store_.get(Family::kLedger, keys::key_charge(day, place));
    if (!text) return text.error();
    if (!*text) continue;
    auto charge = decode<KeyCharge>(**text);
    if (!charge) return charge.error();
    charge->place = place;
    if (holds(*charge) && (!best || is_paid_better(*charge, *best))) best = *std::move(charge);
  }
  return best;
}

// A few at each request with a key, until none of the days before yesterday are left.
Result<void> KeyCharges::forget_old(std::uint32_t today) {
  if (swept_day_ >= today) return {};
  const std::string end = keys::key_charges_from(today - 1);
  Batch batch;
  auto scanned = store_.scan(Family::kLedger, keys::key_charges(), keys::key_charges(),
                             [&](std::string_view key, std::string_view) {
                               if (key >= end) return false;
                               batch.erase(Family::kLedger, std::string(key));
                               return batch.erases.size() < kErasedAtOnce;
                             });
  if (!scanned) return scanned;
  if (batch.erases.size() < kErasedAtOnce) swept_day_ = today;
  std::erase_if(held_, [&](const auto& held) { return day_number(held.second.begun) + 1 < today; });
  if (batch.erases.empty()) return {};
  const auto erased = store_.write(batch, Durability::kBuffered);
  // A disk that is full has no part in whether somebody is charged.
  if (!erased) log_error("key_charges_not_erased", {{"reason", erased.error().message}});
  return {};
}

void KeyCharges::hold(const KeyCharge& charge) {
  const MutexLock lock(mutex_);
  held_.insert_or_assign(charge.place, charge);
}

void KeyCharges::end(const ContentDigest& place) {
  const MutexLock lock(mutex_);
  under_way_.erase(place);
}

}  // namespace tessera
