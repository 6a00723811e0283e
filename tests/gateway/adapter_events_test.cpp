#include "gateway/adapters/adapter_events.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

const TenantId kAnn("proj_ann");
const TenantId kBob("proj_bob");
constexpr WallTime kStarted{std::chrono::seconds(1'700'000'000)};

RegistryChange moved(const TenantId& tenant, const std::string& adapter, int version) {
  RegistryChange change;
  change.kind = RegistryChange::Kind::kAliasUpdated;
  change.tenant = tenant;
  change.adapter = adapter;
  change.alias = "prod";
  change.target = AliasTarget::one(version);
  change.time = kStarted;
  return change;
}

class AdapterEventsTest : public testing::Test {
 protected:
  void publish(const RegistryChange& change) { events.publish({&change, 1}); }

  std::unique_ptr<EventStream> listen(AdapterEvents::Request request) {
    auto stream = events.listen(std::move(request));
    EXPECT_TRUE(stream);
    (*stream)->start([this] { ++woken; });
    return *std::move(stream);
  }
  static std::size_t count(const std::string& text) {
    std::size_t events = 0;
    for (auto at = text.find("data: "); at != text.npos; at = text.find("data: ", at + 1)) {
      ++events;
    }
    return events;
  }
  static std::string last_id(const std::string& text) {
    const auto at = text.rfind("id: ") + 4;
    return text.substr(at, text.find('\n', at) - at);
  }

  ManualClock clock;
  AdapterEvents events{clock, kStarted};
  int woken = 0;
};

TEST_F(AdapterEventsTest, AListenerHearsItsTenantsChangesAndIsWoken) {
  const auto anns = listen({.tenant = kAnn});
  const auto bobs = listen({.tenant = kBob});
  woken = 0;
  publish(moved(kAnn, "bot", 7));
  EXPECT_EQ(woken, 1);
  const std::string text = anns->take();
  EXPECT_THAT(text, HasSubstr("event: adapter.alias.updated\nid: "));
  EXPECT_THAT(text, HasSubstr(R"("adapter":"bot","alias":"prod","target":{"version":7}})"));
  EXPECT_EQ(anns->take(), "");
  EXPECT_EQ(bobs->take(), "");
}

TEST_F(AdapterEventsTest, OneWhoListensToAnAdapterHearsOfNoOther) {
  const auto stream = listen({.tenant = kAnn, .adapter = "bot"});
  publish(moved(kAnn, "other", 1));
  publish(moved(kAnn, "bot", 2));
  const std::string text = stream->take();
  EXPECT_EQ(count(text), 1U);
  EXPECT_THAT(text, Not(HasSubstr("other")));
}

TEST_F(AdapterEventsTest, WhoSaysWhatHeSawLastMissesNothing) {
  const auto first = listen({.tenant = kAnn});
  publish(moved(kAnn, "bot", 1));
  const std::string seen = last_id(first->take());
  for (int version = 2; version <= 5; ++version) publish(moved(kAnn, "bot", version));
  publish(moved(kBob, "bot", 9));
  const std::string text = listen({.tenant = kAnn, .last_event = seen})->take();
  EXPECT_EQ(count(text), 4U);
  EXPECT_THAT(text, Not(HasSubstr("missed")));
  EXPECT_EQ(listen({.tenant = kAnn, .last_event = last_id(text)})->take(), "");
}

TEST_F(AdapterEventsTest, WhoMissedTooMuchIsToldSo) {
  const auto first = listen({.tenant = kAnn});
  publish(moved(kAnn, "bot", 1));
  const std::string seen = last_id(first->take());
  for (std::size_t i = 0; i < kRememberedEvents; ++i) publish(moved(kAnn, "bot", 2));
  EXPECT_THAT(listen({.tenant = kAnn, .last_event = seen})->take(), Not(HasSubstr("missed")));
  publish(moved(kAnn, "bot", 3));
  for (const std::string& id : {seen, std::string("1-1"), std::string("rubbish")}) {
    const std::string text = listen({.tenant = kAnn, .last_event = id})->take();
    EXPECT_THAT(text, HasSubstr("adapter.events.missed")) << id;
    EXPECT_EQ(count(text), kRememberedEvents + 1) << id;
  }
}

TEST_F(AdapterEventsTest, OneWhoDoesNotTakeIsEnded) {
  const auto slow = listen({.tenant = kAnn});
  for (std::size_t i = 0; i < kMaxWaitingEvents; ++i) publish(moved(kAnn, "bot", 1));
  EXPECT_FALSE(slow->ended());
  publish(moved(kAnn, "bot", 1));
  EXPECT_TRUE(slow->ended());
  EXPECT_EQ(slow->take(), "") << "it could not tell what is missing";
}

TEST_F(AdapterEventsTest, ATenantHasOnlySoManyListeners) {
  std::vector<std::unique_ptr<EventStream>> streams;
  for (int i = 0; i < kMaxListeners; ++i) streams.push_back(listen({.tenant = kAnn}));
  const auto one_more = events.listen({.tenant = kAnn});
  ASSERT_FALSE(one_more);
  EXPECT_EQ(one_more.error().code, Code::kRateLimitExceeded);
  EXPECT_TRUE(events.listen({.tenant = kBob}));
  streams.pop_back();
  EXPECT_TRUE(events.listen({.tenant = kAnn}));
}

TEST_F(AdapterEventsTest, AKeyThatWasWithdrawnHearsNothingMore) {
  bool allowed = true;
  const auto stream = listen({.tenant = kAnn, .is_allowed = [&] { return allowed; }});
  publish(moved(kAnn, "bot", 1));
  allowed = false;
  EXPECT_EQ(stream->take(), "");
  EXPECT_TRUE(stream->ended());
}

TEST_F(AdapterEventsTest, AStreamEndsAfterAWhileAndWithTheServer) {
  const auto first = listen({.tenant = kAnn});
  clock.advance(kMaxListening);
  EXPECT_TRUE(first->ended());
  const auto second = listen({.tenant = kAnn});
  EXPECT_FALSE(second->ended());
  woken = 0;
  events.close();
  EXPECT_GE(woken, 1);
  EXPECT_TRUE(second->ended());
  EXPECT_EQ(events.listen({.tenant = kAnn}).error().code, Code::kDraining);
}

TEST_F(AdapterEventsTest, TheSilentAreForgottenBeforeMemoryRunsOut) {
  const auto stream = listen({.tenant = kAnn});
  publish(moved(kAnn, "bot", 1));
  const std::string seen = last_id(stream->take());
  for (std::size_t i = 0; i < kRememberedTenants + 10; ++i) {
    publish(moved(TenantId("proj_" + std::to_string(i)), "bot", 1));
  }
  publish(moved(kAnn, "bot", 2));
  EXPECT_EQ(count(stream->take()), 1U) << "who listens is not forgotten";
  const auto again = listen({.tenant = TenantId("proj_0"), .last_event = seen});
  EXPECT_THAT(again->take(), HasSubstr("missed"));
}

}  // namespace
}  // namespace tessera
