#include "adapters/page_pool.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::size_t kSmall = 10'000;

TEST(PagePool, GivesOutWhatItWasGiven) {
  PagePool pool(10 * kHugePageBytes);
  PageMemory memory = pool.take(kSmall);
  const std::byte* place = memory.data();
  pool.give(std::move(memory));
  EXPECT_EQ(pool.bytes(), kSmall);
  const PageMemory again = pool.take(kSmall);
  EXPECT_EQ(again.data(), place);
  EXPECT_EQ(again.size(), kSmall);
  EXPECT_EQ(pool.bytes(), 0U);
  EXPECT_NE(pool.take(kSmall).data(), place);
}

TEST(PagePool, MemoryFitsWhoeverTakesAsMuchOfIt) {
  PagePool pool(10 * kHugePageBytes);
  PageMemory memory = pool.take(kHugePageBytes - kHugePageBytes / 8);
  const std::byte* place = memory.data();
  pool.give(std::move(memory));
  EXPECT_NE(pool.take(kSmall).data(), place);
  EXPECT_NE(pool.take(kHugePageBytes + 1).data(), place);
  const PageMemory larger = pool.take(kHugePageBytes);
  EXPECT_EQ(larger.data(), place);
  EXPECT_EQ(larger.size(), kHugePageBytes);
}

TEST(PagePool, KeepsTheLastOnesWithinItsLimit) {
  PagePool pool(2 * kSmall);
  AlignedBuffer<std::byte> first(kSmall);
  AlignedBuffer<std::byte> second(kSmall);
  AlignedBuffer<std::byte> third(kSmall);
  const std::byte* place = second.data();
  pool.give(std::move(first));
  pool.give(std::move(second));
  pool.give(std::move(third));
  EXPECT_EQ(pool.bytes(), 2 * kSmall);
  EXPECT_EQ(pool.take(kSmall).data(), place);
  pool.give(AlignedBuffer<std::byte>(3 * kSmall));  // more than all it may keep
  EXPECT_EQ(pool.bytes(), kSmall);
}

std::shared_ptr<PinnedArena> arena_of(std::size_t pages) {
  const std::size_t bytes = pages * PinnedArena::kPageBytes;
  const auto memory = std::make_shared<std::vector<std::byte>>(bytes);
  return std::make_shared<PinnedArena>(std::shared_ptr<std::byte>(memory, memory->data()), bytes);
}

TEST(PagePool, TakesOfAnArenaWhatThatHas) {
  const auto arena = arena_of(4);
  PagePool pool(10 * kHugePageBytes, arena);
  PageMemory first = pool.take(kSmall);  // three pages
  PageMemory second = pool.take(kSmall);
  EXPECT_TRUE(first.is_pinned());
  EXPECT_EQ(first.size(), kSmall);
  EXPECT_EQ(first.footprint(), 3 * PinnedArena::kPageBytes);
  EXPECT_FALSE(second.is_pinned());
  EXPECT_EQ(arena->free_bytes(), PinnedArena::kPageBytes);
  const std::byte* place = first.data();
  pool.give(std::move(first));
  EXPECT_EQ(arena->free_bytes(), arena->bytes());
  EXPECT_EQ(pool.bytes(), 0U);  // nothing of the arena's is kept
  const PageMemory again = pool.take(kSmall);
  EXPECT_EQ(again.data(), place);
}

TEST(PinnedArena, RunsThatAreGivenBackBecomeOne) {
  const auto arena = arena_of(9);
  constexpr std::size_t kRun = 3 * PinnedArena::kPageBytes;
  std::byte* runs[] = {arena->allocate(kRun), arena->allocate(kRun - 1), arena->allocate(kRun)};
  EXPECT_EQ(arena->allocate(1), nullptr);
  EXPECT_EQ(arena->allocate(0), nullptr);
  for (const int i : {0, 2, 1}) {
    ASSERT_NE(runs[i], nullptr);
    arena->release(runs[i]);
  }
  EXPECT_EQ(arena->allocate(3 * kRun), runs[0]);
}

// Against a list of pages that says who has each.
TEST(PinnedArena, NobodyHasWhatAnotherHas) {
  constexpr std::size_t kPages = 64;
  const auto arena = arena_of(kPages);
  std::byte* const begin = arena->allocate(kPages * PinnedArena::kPageBytes);
  arena->release(begin);
  std::mt19937 random(5);
  std::vector<int> owner(kPages, 0);
  std::map<int, std::byte*> held;
  for (int id = 1; id <= 5000; ++id) {
    if (held.size() > 6 || (!held.empty() && random() % 2 == 0)) {
      const auto gone = std::next(held.begin(), static_cast<long>(random() % held.size()));
      std::ranges::replace(owner, gone->first, 0);
      arena->release(gone->second);
      held.erase(gone);
    }
    const std::size_t pages = 1 + random() % 20;
    std::byte* const at = arena->allocate(pages * PinnedArena::kPageBytes);
    const bool has_room =
        std::search_n(owner.begin(), owner.end(), static_cast<long>(pages), 0) != owner.end();
    ASSERT_EQ(at != nullptr, has_room) << id;
    if (at == nullptr) continue;
    const auto first = static_cast<std::size_t>(at - begin) / PinnedArena::kPageBytes;
    for (std::size_t page = first; page < first + pages; ++page) {
      ASSERT_EQ(std::exchange(owner.at(page), id), 0) << id;
    }
    held[id] = at;
  }
  const auto free = static_cast<std::size_t>(std::ranges::count(owner, 0));
  EXPECT_EQ(arena->free_bytes(), free * PinnedArena::kPageBytes);
}

}  // namespace
}  // namespace tessera
