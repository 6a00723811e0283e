#include "gateway/admin/readiness.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Readiness, AServerWhoseEngineAndDiskGiveSignsIsReady) {
  EXPECT_THAT(reasons_against({}), IsEmpty());
  EXPECT_THAT(reasons_against({.engine_heartbeat_age = kMaxEngineSilence,
                               .ledger_sync_age = kMaxLedgerSyncAge}),
              IsEmpty());
}

TEST(Readiness, EachThatFailsIsNamed) {
  EXPECT_THAT(reasons_against({.engine_heartbeat_age = kMaxEngineSilence + 1ns}),
              ElementsAre("engine_silent"));
  EXPECT_THAT(reasons_against({.ledger_sync_age = kMaxLedgerSyncAge + 1ns}),
              ElementsAre("ledger_not_synced"));
  EXPECT_THAT(reasons_against({.store_works = false,
                               .draining = true,
                               .engine_heartbeat_age = 1h,
                               .ledger_sync_age = 1h}),
              ElementsAre("store_failing", "draining", "engine_silent", "ledger_not_synced"));
}

}  // namespace
}  // namespace tessera
