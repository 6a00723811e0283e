// What memory says of a request is what the store would, or nothing.
#include "tenancy/recent_requests.hpp"

#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kStart{100'000s};

RequestId made(WallTime time) {
  return RequestId("req_" + new_ulid(time));
}

TEST(RecentRequests, TellsNothingUntilItKnowsWhatWasThere) {
  RecentRequests recent;
  const RequestId request = made(kStart);
  EXPECT_EQ(recent.is_recorded(request), std::nullopt);
  recent.note_recorded(request);
  EXPECT_EQ(recent.is_recorded(request), std::nullopt);
}

TEST(RecentRequests, KnowsThoseThatWereMadeSinceAndNoOthers) {
  RecentRequests recent;
  recent.begin(kStart);
  const RequestId before = made(kStart), after = made(kStart + 1ms), other = made(kStart + 1ms);
  recent.note_recorded(before);
  recent.note_recorded(after);
  EXPECT_EQ(recent.is_recorded(before), std::nullopt);
  EXPECT_EQ(recent.is_recorded(after), true);
  EXPECT_EQ(recent.is_recorded(other), false);
  recent.begin(kStart + 1ms);
  EXPECT_EQ(recent.is_recorded(after), std::nullopt);
  EXPECT_EQ(recent.is_recorded(made(kStart + 2ms)), false);
}

TEST(RecentRequests, KnowsNothingOfIdsThatTellNoTime) {
  RecentRequests recent;
  recent.begin(kStart);
  for (const char* id : {"", "req_", "req_1", "chatcmpl-1", "req_not-a-ulid-of-26-letters"}) {
    recent.note_recorded(RequestId(id));
    EXPECT_EQ(recent.is_recorded(RequestId(id)), std::nullopt) << id;
  }
}

// However many there are, and in whichever order they end: never the wrong answer, and of those
// made last always one.
TEST(RecentRequests, ForgetsTheOldestAndSaysSo) {
  constexpr int kRequests = 5 * static_cast<int>(RecentRequests::kRemembered);
  std::mt19937 random(7);
  RecentRequests recent;
  recent.begin(kStart);
  std::set<std::string> recorded;
  std::vector<RequestId> all;
  int num_told = 0;
  for (int i = 0; i < kRequests; ++i) {
    all.push_back(made(kStart + 1ms + std::chrono::milliseconds(i / 8)));
    if (random() % 8 != 0) {
      const auto& ended = all[all.size() - 1 - random() % std::min<std::size_t>(all.size(), 64)];
      recent.note_recorded(ended);
      recorded.insert(ended.str());
    }
    const RequestId& asked = all[random() % all.size()];
    const auto told = recent.is_recorded(asked);
    num_told += told.has_value() ? 1 : 0;
    if (told) {
      EXPECT_EQ(*told, recorded.contains(asked.str())) << asked.str();
    }
    EXPECT_TRUE(recent.is_recorded(all.back()).has_value());
  }
  EXPECT_GT(num_told, kRequests / 8);
  EXPECT_LT(num_told, kRequests) << "it remembers all of them";
}

}  // namespace
}  // namespace tessera
