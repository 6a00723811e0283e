#include "engine/schedule/block_pool.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr int kBlockSize = 4;

std::vector<TokenId> counting(int count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

AdapterDigest digest(std::uint8_t byte) {
  AdapterDigest adapter;
  adapter.bytes.fill(byte);
  return adapter;
}

PrefixChain chain_of(const std::vector<TokenId>& tokens, std::uint64_t salt = 0,
                     std::optional<AdapterDigest> adapter = std::nullopt) {
  PrefixChain chain(salt, adapter);
  chain.extend(tokens, kBlockSize);
  return chain;
}

// Computes `tokens` from nothing, publishes what is full and lets go of it.
void cache(BlockPool& pool, const std::vector<TokenId>& tokens, std::uint64_t salt = 0,
           std::optional<AdapterDigest> adapter = std::nullopt) {
  const PrefixChain chain = chain_of(tokens, salt, adapter);
  BlockTable table;
  pool.match_prefix(chain, tokens, table);
  ASSERT_TRUE(pool.grow(table, static_cast<int>(tokens.size())));
  pool.publish(table, chain, tokens, 0, static_cast<int>(tokens.size()) / kBlockSize);
  pool.release(table);
  pool.check_invariants();
}

int cached_tokens(BlockPool& pool, const std::vector<TokenId>& tokens, std::uint64_t salt = 0,
                  std::optional<AdapterDigest> adapter = std::nullopt) {
  BlockTable table;
  const int covered = pool.match_prefix(chain_of(tokens, salt, adapter), tokens, table);
  pool.release(table);
  pool.check_invariants();
  return covered;
}

TEST(PrefixChain, GrowsWithTheTokensAndNamesOnlyFullBlocks) {
  const auto tokens = counting(11);
  PrefixChain in_steps(9, std::nullopt);
  for (std::size_t n = 0; n <= tokens.size(); ++n) {
    in_steps.extend(std::span(tokens).first(n), kBlockSize);
    EXPECT_EQ(in_steps.names().size(), n / kBlockSize);
  }
  EXPECT_TRUE(std::ranges::equal(in_steps.names(), chain_of(tokens, 9).names()));
}

TEST(PrefixChain, NamesTellSaltsAdaptersAndPredecessorsApart) {
  const auto tokens = counting(8);
  auto other_head = tokens;
  other_head[0] = 99;
  const auto name = [](const PrefixChain& chain) { return chain.names()[1]; };
  const auto plain = name(chain_of(tokens));
  EXPECT_NE(plain, name(chain_of(tokens, 1)));
  EXPECT_NE(plain, name(chain_of(tokens, 0, digest(0))));
  EXPECT_NE(name(chain_of(tokens, 0, digest(0))), name(chain_of(tokens, 0, digest(1))));
  EXPECT_NE(plain, name(chain_of(other_head)));
  PrefixChain long_rope(0, std::nullopt, true);
  long_rope.extend(tokens, kBlockSize);
  EXPECT_NE(plain, name(long_rope));
}

TEST(BlockPool, GrowTakesAllThatIsMissingOrNothing) {
  BlockPool pool(3, kBlockSize);
  BlockTable table;
  ASSERT_TRUE(pool.grow(table, 5));
  EXPECT_EQ(table.size(), 2U);
  ASSERT_TRUE(pool.grow(table, 8));
  EXPECT_EQ(table.size(), 2U);
  EXPECT_FALSE(pool.grow(table, 13));
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(pool.num_free(), 1);
  pool.release(table);
  EXPECT_EQ(pool.num_free(), 3);
  pool.check_invariants();
}

TEST(BlockPool, APrefixIsFoundAfterItsOwnerHasGone) {
  BlockPool pool(8, kBlockSize);
  cache(pool, counting(10));
  auto longer = counting(10);
  longer[9] = 77;
  EXPECT_EQ(cached_tokens(pool, longer), 8);
  longer[5] = 77;
  EXPECT_EQ(cached_tokens(pool, longer), 4);
}

TEST(BlockPool, TheLastTokenIsNeverCovered) {
  BlockPool pool(8, kBlockSize);
  cache(pool, counting(8));
  EXPECT_EQ(cached_tokens(pool, counting(8)), 4);
  EXPECT_EQ(cached_tokens(pool, counting(9)), 8);
  EXPECT_EQ(cached_tokens(pool, counting(1)), 0);
}

TEST(BlockPool, SaltsAndAdaptersDoNotShare) {
  BlockPool pool(16, kBlockSize);
  cache(pool, counting(8), 1, digest(1));
  EXPECT_EQ(cached_tokens(pool, counting(9), 1, digest(1)), 8);
  EXPECT_EQ(cached_tokens(pool, counting(9), 2, digest(1)), 0);
  EXPECT_EQ(cached_tokens(pool, counting(9), 1, digest(2)), 0);
  EXPECT_EQ(cached_tokens(pool, counting(9), 1), 0);
}

TEST(BlockPool, ANameThatLiesAboutItsTokensIsNoHit) {
  BlockPool pool(8, kBlockSize);
  cache(pool, counting(8));
  auto others = counting(9, 50);
  BlockTable table;
  EXPECT_EQ(pool.match_prefix(chain_of(counting(9)), others, table), 0);
  EXPECT_TRUE(table.empty());
}

TEST(BlockPool, AMatchedBlockIsSharedAndOutlivesItsFirstOwner) {
  BlockPool pool(3, kBlockSize);
  const auto tokens = counting(5);
  const auto chain = chain_of(tokens);
  BlockTable first;
  ASSERT_TRUE(pool.grow(first, 5));
  pool.publish(first, chain, tokens, 0, 1);
  BlockTable second;
  EXPECT_EQ(pool.match_prefix(chain, tokens, second), 4);
  EXPECT_EQ(second[0], first[0]);
  pool.release(first);
  EXPECT_EQ(pool.num_free(), 2);
  BlockTable greedy;
  ASSERT_TRUE(pool.grow(greedy, 8));
  EXPECT_FALSE(pool.grow(greedy, 12));
  EXPECT_EQ(std::ranges::count(greedy, second[0]), 0);
  pool.check_invariants();
}

TEST(BlockPool, TailsOfPrefixesAreForgottenBeforeTheirHeads) {
  BlockPool pool(3, kBlockSize);
  cache(pool, counting(12));
  BlockTable other;
  ASSERT_TRUE(pool.grow(other, 4));
  pool.release(other);
  EXPECT_EQ(cached_tokens(pool, counting(13)), 8);
}

TEST(BlockPool, HasRoomCountsCachedBlocksOnceAndFreeOnesNotTwice) {
  BlockPool pool(3, kBlockSize);
  const auto tokens = counting(12);
  cache(pool, tokens);
  EXPECT_TRUE(pool.has_room(chain_of(tokens), tokens, static_cast<int>(tokens.size())));
  const auto longer = counting(13);
  EXPECT_FALSE(pool.has_room(chain_of(longer), longer, static_cast<int>(longer.size())));
  BlockTable user;  // holds two of the three, shared with whoever comes next
  pool.match_prefix(chain_of(tokens), tokens, user);
  EXPECT_TRUE(pool.has_room(chain_of(tokens), tokens, static_cast<int>(tokens.size())));
  const auto others = counting(8, 50);
  EXPECT_FALSE(pool.has_room(chain_of(others), others, static_cast<int>(others.size())));
}

// Random sequences grow, publish, share and leave; after each operation the pool is consistent,
// has_room told the truth, and a match is exactly what a model of the cache allows.
TEST(BlockPool, StaysConsistentUnderRandomUse) {
  constexpr std::uint64_t kSeed = 4711;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  struct User {
    std::vector<TokenId> tokens;
    PrefixChain chain;
    BlockTable table;
    int published = 0;
  };
  BlockPool pool(24, kBlockSize);
  std::vector<User> users;
  std::map<BlockId, std::vector<TokenId>> context_in;  // what each block was last published with
  for (int operation = 0; operation < 20'000; ++operation) {
    if (random() % 3 == 0 || users.empty()) {
      User user;
      const std::uint64_t salt = random() % 2;
      for (std::size_t n = 1 + random() % 30; n > 0; --n) {
        user.tokens.push_back(static_cast<TokenId>(random() % 2));
      }
      user.chain = chain_of(user.tokens, salt);
      const int num_tokens = static_cast<int>(user.tokens.size());
      const bool has_room = pool.has_room(user.chain, user.tokens, num_tokens);
      const int covered = pool.match_prefix(user.chain, user.tokens, user.table);
      for (int block = 0; block < covered / kBlockSize; ++block) {
        std::vector<TokenId> context(user.tokens.begin(),
                                     user.tokens.begin() + (block + 1) * kBlockSize);
        context.push_back(static_cast<TokenId>(salt));
        ASSERT_EQ(context_in[user.table[static_cast<std::size_t>(block)]], context);
      }
      ASSERT_EQ(pool.grow(user.table, static_cast<int>(user.tokens.size())), has_room)
          << "seed " << kSeed << " operation " << operation;
      if (has_room) {
        const int full = static_cast<int>(user.tokens.size()) / kBlockSize;
        const int cached = pool.num_cached();
        pool.publish(user.table, user.chain, user.tokens, covered / kBlockSize, full);
        EXPECT_GE(pool.num_cached(), cached);
        for (int block = covered / kBlockSize; block < full; ++block) {
          auto& context = context_in[user.table[static_cast<std::size_t>(block)]];
          context.assign(user.tokens.begin(), user.tokens.begin() + (block + 1) * kBlockSize);
          context.push_back(static_cast<TokenId>(salt));
        }
        users.push_back(std::move(user));
      } else {
        pool.release(user.table);
      }
    } else if (random() % 8 == 0) {
      std::vector<BlockId> written;
      std::vector<BlockId> taken(pool.lent().begin(), pool.lent().end());
      std::shuffle(taken.begin(), taken.end(), random);
      taken.resize(random() % (taken.size() + 1));
      pool.take_back(taken);
      pool.lend_blank(static_cast<int>(random() % 4), written);
      pool.lend_cached(static_cast<int>(random() % 3), written);
    } else {
      const std::size_t index = random() % users.size();
      pool.release(users[index].table);
      users.erase(users.begin() + static_cast<std::ptrdiff_t>(index));
    }
    pool.check_invariants();
  }
}

TEST(BlockPool, LendsBlocksNeverUsedFirstAndTellsWhichWereUsed) {
  BlockPool pool(6, kBlockSize);
  cache(pool, counting(2 * kBlockSize));  // blocks 0 and 1
  BlockTable table;
  ASSERT_TRUE(pool.grow(table, 1));
  pool.release(table);  // block 2 is blank, and was used
  std::vector<BlockId> written;
  EXPECT_EQ(pool.lend_blank(3, written), 3);
  EXPECT_TRUE(written.empty());
  EXPECT_EQ(pool.lend_blank(9, written), 1);
  EXPECT_EQ(written, std::vector<BlockId>({2}));
  pool.check_invariants();
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(cached_tokens(pool, counting(9)), 8);

  EXPECT_EQ(pool.lend_cached(1, written), 1);  // the tail goes before the head
  EXPECT_EQ(written, std::vector<BlockId>({2, 1}));
  EXPECT_EQ(cached_tokens(pool, counting(9)), 4);
  EXPECT_EQ(pool.num_lent(), 5);
  pool.take_back(std::vector<BlockId>(pool.lent().begin(), pool.lent().end()));
  EXPECT_EQ(pool.num_lent(), 0);
  EXPECT_EQ(pool.num_free(), 6);
  pool.check_invariants();
  written.clear();
  EXPECT_EQ(pool.lend_blank(9, written), 5);
  EXPECT_TRUE(written.empty()) << "they were given back, and not used since";
}

TEST(BlockPool, ABlockThatHoldsNothingIsTakenBeforeACachedOne) {
  BlockPool pool(3, kBlockSize);
  cache(pool, counting(2 * kBlockSize));
  for (int i = 0; i < 4; ++i) {
    BlockTable table;
    ASSERT_TRUE(pool.grow(table, 1));
    pool.release(table);
  }
  EXPECT_EQ(cached_tokens(pool, counting(9)), 8);
}

// The names of `tokens` where `adapter` applies from `start` on.
PrefixChain activated(const std::vector<TokenId>& tokens, std::uint8_t adapter, int start) {
  PrefixChain chain(0, digest(adapter), false, start);
  chain.extend(tokens, kBlockSize);
  return chain;
}

TEST(PrefixChain, BlocksBeforeAnAdapterAppliesAreTheBases) {
  const auto tokens = counting(20);
  const PrefixChain base = chain_of(tokens);
  for (const int start : {1, 4, 6, 8, 19, 1000}) {
    const PrefixChain chain = activated(tokens, 1, start);
    for (int block = 0; block < 5; ++block) {
      const auto index = static_cast<std::size_t>(block);
      const bool is_base = (block + 1) * kBlockSize <= start;
      EXPECT_EQ(chain.names()[index] == base.names()[index], is_base) << start << ' ' << block;
      EXPECT_EQ(chain.adapter_of(block, kBlockSize).has_value(), !is_base);
    }
  }
  EXPECT_NE(activated(tokens, 1, 6).names().back(), activated(tokens, 2, 6).names().back());
  EXPECT_NE(activated(tokens, 1, 6).names().back(), activated(tokens, 1, 7).names().back());
  EXPECT_EQ(activated(tokens, 1, 0).names().back(), chain_of(tokens, 0, digest(1)).names().back());
}

TEST(BlockPool, BlocksOfADemotedAdapterAreTakenFirstAndFoundUntilThen) {
  BlockPool pool(6, kBlockSize);
  const auto tokens = counting(9);
  cache(pool, tokens, 0, digest(1));
  cache(pool, tokens, 0, digest(2));
  pool.demote(digest(2));
  pool.check_invariants();
  EXPECT_EQ(cached_tokens(pool, tokens, 0, digest(2)), 8);
  pool.demote(digest(2));
  BlockTable table;
  ASSERT_TRUE(pool.grow(table, 4 * kBlockSize));  // two that hold nothing, and then these
  EXPECT_EQ(cached_tokens(pool, tokens, 0, digest(1)), 8);
  EXPECT_EQ(cached_tokens(pool, tokens, 0, digest(2)), 0);
  pool.release(table);
}

TEST(BlockPool, AForgottenAdaptersPrefixesAreNotFound) {
  BlockPool pool(8, kBlockSize);
  const auto tokens = counting(9);
  cache(pool, tokens);
  cache(pool, tokens, 0, digest(1));
  BlockTable used;
  EXPECT_EQ(pool.match_prefix(chain_of(tokens, 0, digest(1)), tokens, used), 8);
  pool.forget(digest(1));
  EXPECT_EQ(cached_tokens(pool, tokens, 0, digest(1)), 8) << "still in somebody's table";
  pool.release(used);
  pool.forget(digest(1));
  EXPECT_EQ(cached_tokens(pool, tokens, 0, digest(1)), 0);
  EXPECT_EQ(cached_tokens(pool, tokens), 8);
}

}  // namespace
}  // namespace tessera
