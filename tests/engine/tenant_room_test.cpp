// tenant_room_test.cpp — what one tenant may have of the engine's queue and of adapter memory.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {
namespace {

class TenantRoomTest : public testing::Test {
 protected:
  void open(EngineConfig config = {}) {
    HostCache::Config cache;
    cache.num_loaders = 2;
    cache.allowance = [this](std::string_view tenant) {
      std::lock_guard lock(allowance_mutex_);
      return tenant == "few" ? allowance_ : HostCache::Allowance{};
    };
    shelf_ = std::make_unique<AdapterShelf>(spec_, PageType::kF32, cache);
    core_ = std::make_unique<EngineCore>(
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend), spec_,
        shelf_->cache(), config);
  }
  // Two sequences at a time.
  void open_narrow() {
    EngineConfig config;
    config.backend.max_seqs = 2;
    open(config);
  }

  std::shared_ptr<TokenStream> add(const std::string& tenant, std::optional<int> max_queue,
                                   int adapter = 0) {
    auto stream = std::make_shared<TokenStream>([] {});
    GenerationRequest request{.prompt = {1, 2, 3},
                              .sampling = {.temperature = 0.0F, .max_tokens = 3},
                              .tenant = tenant,
                              .max_queue = max_queue};
    if (adapter > 0) request.adapter = AdapterShelf::digest(adapter);
    core_->add(std::move(request), stream);
    return stream;
  }
  void step() {
    core_->step();
    core_->check_invariants();
  }
  static std::optional<Finish> finish_of(TokenStream& stream) { return stream.take().finished; }
  // From the request to its end.
  void serve(const std::string& tenant, int adapter) {
    const auto stream = add(tenant, std::nullopt, adapter);
    shelf_->wait_for(adapter, tenant);
    for (int i = 0; i < 100 && core_->num_requests() > 0; ++i) {
      step();
      if (core_->stats().num_waiting_for_adapter > 0) shelf_->wait_for(adapter, tenant);
    }
    const auto finish = finish_of(*stream);
    ASSERT_TRUE(finish) << tenant << ' ' << adapter;
    EXPECT_EQ(finish->reason, FinishReason::kLength) << finish->message;
  }
  void change_allowance(const HostCache::Allowance& allowance) {
    {
      std::lock_guard lock(allowance_mutex_);
      allowance_ = allowance;
    }
    shelf_->cache().allowance_changed("few");
  }

  ModelSpec spec_ = tiny_spec();
  std::mutex allowance_mutex_;
  HostCache::Allowance allowance_;
  std::unique_ptr<AdapterShelf> shelf_;
  std::unique_ptr<EngineCore> core_;
};

TEST_F(TenantRoomTest, OfThoseThatWaitTheNewestBeyondTheQueueGo) {
  open_narrow();
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < 6; ++i) streams.push_back(add("t", 2));
  const auto other = add("other", 1);
  step();  // which takes two
  std::vector<std::size_t> refused;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto finish = finish_of(*streams[i]);
    if (!finish) continue;
    refused.push_back(i);
    EXPECT_EQ(finish->code, Code::kQueueFull);
    EXPECT_NE(finish->message.find("max_queue: 2"), finish->message.npos) << finish->message;
    EXPECT_EQ(finish->computed_prompt_tokens, 0);
  }
  // One runs beside the other tenant's, two wait.
  EXPECT_EQ(refused, (std::vector<std::size_t>{3, 4, 5}));
  EXPECT_EQ(core_->num_waiting_by_tenant()["t"], 2);
  EXPECT_FALSE(finish_of(*other)) << "another tenant's had to go";
  while (core_->num_requests() > 0) step();
}

TEST_F(TenantRoomTest, WhoeverTheNextStepTakesHasNotWaited) {
  open_narrow();
  const auto first = add("t", 0);
  const auto second = add("t", 0);
  step();
  EXPECT_EQ(core_->stats().num_running, 2);
  const auto third = add("t", 0);
  step();
  const auto finish = finish_of(*third);
  ASSERT_TRUE(finish);
  EXPECT_EQ(finish->code, Code::kQueueFull);
  while (core_->num_requests() > 0) step();
  EXPECT_EQ(finish_of(*first)->reason, FinishReason::kLength);
  EXPECT_EQ(finish_of(*second)->reason, FinishReason::kLength);
}

TEST_F(TenantRoomTest, OneWithoutAQueuesBoundIsNotCounted) {
  open_narrow();
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(add("t", i == 0 ? std::optional(0) : std::nullopt));
  step();
  EXPECT_EQ(core_->num_requests(), 8);
  while (core_->num_requests() > 0) step();
  for (const auto& stream : streams) EXPECT_EQ(finish_of(*stream)->reason, FinishReason::kLength);
}

TEST_F(TenantRoomTest, WithinItsAllowanceATenantsAdaptersTakeTurnsAndOthersSlotsStay) {
  allowance_ = {.adapters = 1};
  open();
  serve("other", 9);
  for (const int adapter : {1, 2, 3, 1}) {
    serve("few", adapter);
    EXPECT_EQ(shelf_->cache().held_by("few").adapters, std::vector{AdapterShelf::digest(adapter)});
  }
  EXPECT_EQ(std::ranges::count(core_->resident_adapters(), AdapterShelf::digest(9)), 1)
      << "another tenant's adapter had to leave the device";
  core_.reset();
}

TEST_F(TenantRoomTest, AnAdapterWaitsForThoseOfItsOwnTenantThatAreInUse) {
  allowance_ = {.adapters = 1};
  open();
  const auto running = add("few", std::nullopt, 1);
  shelf_->wait_for(1, "few");
  step();
  const auto waiting = add("few", std::nullopt, 2);
  shelf_->wait_for(2, "few");
  step();
  EXPECT_EQ(core_->stats().num_waiting_for_adapter, 1);
  for (int i = 0; i < 100 && core_->num_requests() > 0; ++i) {
    step();
    if (core_->stats().num_running == 0) shelf_->wait_for(2, "few");
  }
  EXPECT_EQ(finish_of(*running)->reason, FinishReason::kLength);
  const auto finish = finish_of(*waiting);
  ASSERT_TRUE(finish);
  EXPECT_EQ(finish->reason, FinishReason::kLength) << finish->message;
  core_.reset();
}

TEST_F(TenantRoomTest, ALowerAllowanceFreesIdleSlotsThoughNothingIsAsked) {
  open();
  for (const int adapter : {1, 2, 3}) serve("few", adapter);
  serve("other", 9);
  EXPECT_EQ(core_->resident_adapters().size(), 4U);
  change_allowance({.adapters = 1});
  step();
  EXPECT_EQ(shelf_->cache().held_by("few").adapters, std::vector{AdapterShelf::digest(3)});
  EXPECT_EQ(core_->resident_adapters().size(), 2U);
  serve("few", 1);
  EXPECT_EQ(shelf_->cache().held_by("few").adapters, std::vector{AdapterShelf::digest(1)});
  core_.reset();
}

TEST_F(TenantRoomTest, WhatRunsBeyondALowerAllowanceRunsToItsEndAndNoNewOneBegins) {
  open();
  const auto running = add("few", std::nullopt, 1);
  shelf_->wait_for(1, "few");
  step();
  change_allowance({.adapters = 0});
  const auto waiting = add("few", std::nullopt, 1);
  step();
  EXPECT_EQ(core_->stats().num_running, 1);
  EXPECT_EQ(core_->stats().num_waiting_for_adapter, 1);
  EXPECT_EQ(shelf_->cache().held_by("few").adapters.size(), 1U);
  while (core_->stats().num_running > 0) step();
  EXPECT_EQ(finish_of(*running)->reason, FinishReason::kLength);
  step();
  EXPECT_EQ(shelf_->cache().held_by("few").adapters.size(), 0U);
  EXPECT_TRUE(core_->resident_adapters().empty());
  shelf_->wait_for(1, "few");
  step();
  const auto finish = finish_of(*waiting);
  ASSERT_TRUE(finish);
  EXPECT_EQ(finish->code, Code::kStorageQuotaExceeded);
  core_.reset();
}

// Nothing of its own will ever leave: what is kept by pin() stays.
TEST_F(TenantRoomTest, WhereWaitingCannotHelpTheRequestFailsAndMayComeAgain) {
  allowance_ = {.adapters = 1};
  open();
  shelf_->cache().prefetch(AdapterShelf::digest(1), "few");
  shelf_->wait_for(1, "few");
  ASSERT_TRUE(shelf_->cache().pin(AdapterShelf::digest(1), "few"));
  const auto refused = add("few", std::nullopt, 2);
  shelf_->wait_for(2, "few");
  step();
  const auto finish = finish_of(*refused);
  ASSERT_TRUE(finish);
  EXPECT_EQ(finish->code, Code::kNoCapacity);
  EXPECT_NE(finish->message.find("project"), finish->message.npos) << finish->message;
  core_.reset();
}

}  // namespace
}  // namespace tessera
