#include "engine/memory_shares.hpp"

#include <memory>
#include <random>
#include <semaphore>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {
namespace {

constexpr int kBlockSize = 4;
constexpr int kStepBlocks = 2;

std::vector<TokenId> counting(int count, TokenId first) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

// A pool of forty blocks, sixteen of which are KV's share, beside a cache of twelve adapters, which
// are two blocks each.
class MemorySharesTest : public testing::Test {
 protected:
  static constexpr int kNumBlocks = 40;
  static constexpr int kKvShare = 16;
  static constexpr int kKvLeast = 4;
  static constexpr int kAdapterBlocks = 2;
  static constexpr int kHostAdapters = 12;

  MemorySharesTest() {
    cache_->set_wake([this] { loaded_.release(); });
    backend_limits_.num_blocks = kNumBlocks;
    backend_limits_.block_size = kBlockSize;
    backend_ = std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), backend_limits_);
    room_ = std::make_unique<HostRoom>(*backend_, *cache_, block_bytes_);
    memory_ = std::make_unique<MemoryShares>(
        ShareLimits{.block_bytes = block_bytes_, .kv_share = kKvShare, .kv_least = kKvLeast},
        *room_);
    memory_->begin(pool_);
  }

  // Returns when the adapter is there, or has failed.
  HostCache::Lookup load(int number) {
    for (;;) {
      HostCache::Lookup found = cache_->get(AdapterShelf::digest(number));
      if (found.state != HostCache::State::kLoading) return found;
      loaded_.acquire();
    }
  }
  void load_all(int first, int last) {
    for (int number = first; number <= last; ++number) load(number);
  }
  int num_kv_blocks() const { return pool_.num_blocks() - pool_.num_lent(); }

  // Computes `num_blocks` blocks of tokens nobody has had, publishes them and lets go.
  void cache_prefix(int num_blocks) {
    const auto tokens = counting(num_blocks * kBlockSize, next_token_);
    next_token_ += num_blocks * kBlockSize;
    PrefixChain chain(0, std::nullopt);
    chain.extend(tokens, kBlockSize);
    BlockTable table;
    ASSERT_TRUE(pool_.grow(table, static_cast<int>(tokens.size())));
    pool_.publish(table, chain, tokens, 0, num_blocks);
    pool_.release(table);
  }

  void check() {
    pool_.check_invariants();
    const HostCache::Stats stats = cache_->stats();
    EXPECT_LE(stats.bytes, stats.max_bytes);
    EXPECT_EQ(stats.max_bytes + static_cast<std::size_t>(num_kv_blocks()) * block_bytes_, total_);
    EXPECT_GE(num_kv_blocks(), kKvLeast);
  }

  const ModelSpec spec_ = tiny_spec();
  const HostCache::Pin adapter_ = pack_adapter(random_adapter(spec_, 1), PageType::kF32);
  const std::size_t adapter_bytes_ = adapter_->footprint();
  const std::size_t block_bytes_ = (adapter_bytes_ + kAdapterBlocks - 1) / kAdapterBlocks;
  const std::size_t host_bytes_ = kHostAdapters * kAdapterBlocks * block_bytes_;
  const std::size_t total_ = host_bytes_ + kKvShare * block_bytes_;
  ManualClock clock_;  // stands still, and with it every rate
  std::counting_semaphore<> loaded_{0};
  std::unique_ptr<HostCache> cache_ = std::make_unique<HostCache>(
      [this](const AdapterDigest&) {
        return Result<HostCache::Pin>(pack_adapter(random_adapter(spec_, 1), PageType::kF32));
      },
      HostCache::Config{.max_bytes = host_bytes_, .loads = {.load_burst_of_tenant = 1 << 20}},
      clock_);
  BackendLimits backend_limits_;
  std::unique_ptr<FakeBackend> backend_;
  BlockPool pool_{kNumBlocks, kBlockSize};
  std::unique_ptr<HostRoom> room_;
  std::unique_ptr<MemoryShares> memory_;
  TokenId next_token_ = 1;
};

TEST_F(MemorySharesTest, EachSideBeginsWithItsShare) {
  EXPECT_EQ(num_kv_blocks(), kKvShare);
  EXPECT_EQ(cache_->stats().max_bytes, host_bytes_);
  EXPECT_FALSE(memory_->adapters_are_owed(pool_));
  EXPECT_FALSE(memory_->kv_is_owed(pool_));
  check();
}

TEST_F(MemorySharesTest, PrefixesGrowIntoMemoryThatNoAdapterFills) {
  for (int i = 0; i < 20; ++i) {
    memory_->balance(pool_, kStepBlocks);
    cache_prefix(1);
    check();
  }
  EXPECT_EQ(pool_.num_cached(), 20) << "a prefix had to go although there was room";
  for (int i = 0; i < 20; ++i) memory_->balance(pool_, kNumBlocks);
  EXPECT_EQ(cache_->stats().max_bytes / block_bytes_,
            std::size_t{kHostAdapters * kAdapterBlocks / 8})
      << "an eighth is kept for the loads to come";
  check();
}

TEST_F(MemorySharesTest, TheAdaptersShareComesBackFromIdlePrefixesBeforeAnyIsEvicted) {
  for (int i = 0; i < 20; ++i) memory_->balance(pool_, kNumBlocks);
  while (pool_.num_blank() > 0) cache_prefix(1);
  ASSERT_TRUE(memory_->adapters_are_owed(pool_));
  for (int number = 0; number < kHostAdapters; ++number) {
    EXPECT_EQ(load(number).state, HostCache::State::kReady);
    memory_->balance(pool_, kStepBlocks);
    check();
  }
  EXPECT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters));
  EXPECT_EQ(cache_->stats().evictions, 0U);
  EXPECT_EQ(num_kv_blocks(), kKvShare);
  EXPECT_GT(backend_->num_discarded(), 0U);
}

TEST_F(MemorySharesTest, BlankBlocksMakeRoomForMoreAdapters) {
  load_all(0, kHostAdapters);
  ASSERT_EQ(cache_->stats().evictions, 1U);
  memory_->balance(pool_, kStepBlocks);
  EXPECT_EQ(num_kv_blocks(), kKvShare - kAdapterBlocks);
  EXPECT_TRUE(memory_->kv_is_owed(pool_));
  EXPECT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters));
  load(0);
  EXPECT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters) + 1);
  check();
  for (int number = 20; number < 40; ++number) {
    load(number);
    memory_->balance(pool_, kStepBlocks);
    check();
  }
  EXPECT_EQ(num_kv_blocks(), kKvLeast);
}

TEST_F(MemorySharesTest, AnAdapterThatFindsOnlyPagesInUseGetsBlankBlocks) {
  std::vector<HostCache::Lookup> used;
  for (int number = 0; number < kHostAdapters; ++number) used.push_back(load(number));
  ASSERT_EQ(load(99).error.code, Code::kNoCapacity);
  memory_->balance(pool_, kStepBlocks);
  EXPECT_EQ(load(99).state, HostCache::State::kReady);
  check();
}

TEST_F(MemorySharesTest, KvGetsItsShareBackFromIdleAdaptersAndNoMore) {
  load_all(0, kHostAdapters + 1);
  memory_->balance(pool_, kStepBlocks);
  load_all(0, kHostAdapters + 1);
  ASSERT_EQ(num_kv_blocks(), kKvShare - 2 * kAdapterBlocks);
  ASSERT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters) + 2);
  EXPECT_TRUE(memory_->provide(pool_, 1));
  EXPECT_EQ(num_kv_blocks(), kKvShare - 2 * kAdapterBlocks + 1);
  EXPECT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters) + 1);
  check();
  EXPECT_TRUE(memory_->provide(pool_, kNumBlocks));
  EXPECT_EQ(num_kv_blocks(), kKvShare);
  EXPECT_FALSE(memory_->provide(pool_, kNumBlocks)) << "adapters have no more than their share";
  EXPECT_EQ(cache_->stats().entries, static_cast<std::size_t>(kHostAdapters));
  check();
}

TEST_F(MemorySharesTest, WhatIsInUseIsNobodysToTake) {
  load_all(0, kHostAdapters);
  memory_->balance(pool_, kStepBlocks);
  std::vector<HostCache::Lookup> used;
  for (int number = 0; number <= kHostAdapters; ++number) used.push_back(load(number));
  EXPECT_FALSE(memory_->provide(pool_, 1));
  EXPECT_TRUE(memory_->kv_is_owed(pool_));
  used.pop_back();
  EXPECT_TRUE(memory_->provide(pool_, 1));
  check();
}

TEST_F(MemorySharesTest, ANewPoolLendsWhatTheOldOneHadLent) {
  load_all(0, kHostAdapters);
  memory_->balance(pool_, kStepBlocks);
  const int before = num_kv_blocks();
  BlockPool next(kNumBlocks, kBlockSize);
  memory_->begin(next);
  EXPECT_EQ(next.num_blocks() - next.num_lent(), before);
  EXPECT_EQ(backend_->num_discarded(), static_cast<std::size_t>(kNumBlocks))
      << "what the old one had written keeps its memory";
}

TEST_F(MemorySharesTest, NotAByteIsLostOrMadeUnderRandomUse) {
  constexpr std::uint64_t kSeed = 1312;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  std::vector<BlockTable> tables;
  std::vector<HostCache::Lookup> used;
  for (int operation = 0; operation < 3'000; ++operation) {
    switch (random() % 6) {
      case 0:
        load(static_cast<int>(random() % 24));
        break;
      case 1:
        used.push_back(load(static_cast<int>(random() % 24)));
        if (used.size() > 9) used.erase(used.begin());
        break;
      case 2:
        tables.emplace_back();
        if (!pool_.grow(tables.back(), static_cast<int>(1 + random() % 20))) tables.pop_back();
        break;
      case 3:
        if (!tables.empty()) {
          pool_.release(tables.back());
          tables.pop_back();
        }
        break;
      case 4:
        memory_->provide(pool_, static_cast<int>(1 + random() % 5));
        break;
      case 5:
        if (pool_.num_free() > 2) cache_prefix(1);
        break;
    }
    memory_->balance(pool_, kStepBlocks);
    check();
  }
}

}  // namespace
}  // namespace tessera
