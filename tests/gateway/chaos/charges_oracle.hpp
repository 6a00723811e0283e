// charges_oracle.hpp — what each request of one Idempotency-Key has to cost, computed anew from the
// requests before it.
//
// Once one had its whole answer the later ones cost nothing; what one that was cut short has cost
// is set against the next. That holds for a day, by a clock that jumps: where the day is over, or
// the clock has been where it is, a request may be charged as the first.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "tenancy/calendar.hpp"
#include "tenancy/usage_ledger.hpp"
#include "tests/gateway/chaos/limits_oracle.hpp"

namespace tessera::chaos {

class ChargesOracle {
 public:
  // `now` is when the request came, `high` as late as the clock has ever been when one with a key
  // did. Whether the record is right; in order.
  bool takes(const UsageRecord& record, WallTime now, WallTime high) {
    const Money price =
        kPrice.of(record.prompt_tokens, record.cached_tokens, record.completion_tokens);
    const bool whole = record.finish == "stop" || record.finish == "length";
    for (Charged& known : charged_) {
      if (known.first != record.charged_as || known.due(price) != record.cost) continue;
      if (known.is_promised(now, high)) ++num_kept_;
      known.amount += record.cost;
      known.complete |= whole;
      return true;
    }
    const auto is_promised = [&](const Charged& known) { return known.is_promised(now, high); };
    if (std::ranges::any_of(charged_, is_promised)) return false;
    begun_.push_back(now);
    if (whole || price > Money()) {
      charged_.push_back({std::exchange(begun_, {}), record.request, price, whole});
    }
    return record.charged_as == RequestId() && record.cost == price;
  }

  // Records for which an earlier charge counted, as it had to.
  int num_kept() const { return num_kept_; }

 private:
  // What was charged first, and set against later ones. There are several where the clock was set.
  struct Charged {
    std::vector<WallTime>
        begun;  // when it did, or may have: some before it may have come to nothing
    RequestId first;
    Money amount;
    bool complete;

    Money due(Money price) const {
      if (complete || price < amount) return {};
      return price - amount;
    }
    bool is_promised(WallTime now, WallTime high) const {
      return std::ranges::all_of(begun, [&](WallTime at) { return is_within_day(at, now, high); });
    }
  };

  // And no clock has said since that the day was over for good, nor says that it is long to come.
  static bool is_within_day(WallTime begun, WallTime now, WallTime high) {
    const auto days = [](WallTime from, WallTime to) {
      return (day_of(to) - day_of(from)).count();
    };
    return now < begun + std::chrono::hours(24) && days(begun, now) >= -1 && days(begun, high) <= 1;
  }

  std::vector<Charged> charged_;
  std::vector<WallTime> begun_;  // requests that came to nothing
  int num_kept_ = 0;
};

}  // namespace tessera::chaos
