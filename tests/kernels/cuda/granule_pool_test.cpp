// granule_pool_test.cpp — the pool that KV blocks and adapters share.
#include "kernels/cuda/granule_pool.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::size_t kFrame = std::size_t{48} << 10;  // three granules

class GranulePoolMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }

  static void give_all(GranulePool& pool) {
    for (BlockId frame = 0; frame < pool.num_frames(); ++frame) pool.give(frame);
  }
};

// Runs that adapters have, and frames that KV has: none of them overlaps another.
struct Books {
  explicit Books(GranulePool& pool_under_test) : pool(pool_under_test) {
    for (BlockId frame = 0; frame < pool.num_frames(); ++frame) kv.insert(frame);
  }

  void allocate(std::size_t bytes) {
    const std::size_t before = pool.free_bytes();
    std::byte* const run = pool.allocate(bytes);
    if (run == nullptr) return;
    const std::size_t taken = before - pool.free_bytes();
    ASSERT_GE(taken, bytes);
    ASSERT_LT(taken, bytes + pool.granule());
    runs[run] = taken;
  }
  void release(std::size_t index) {
    auto run = runs.begin();
    std::advance(run, static_cast<std::ptrdiff_t>(index % runs.size()));
    pool.release(run->first);
    runs.erase(run);
  }
  void give(std::size_t index) {
    auto frame = kv.begin();
    std::advance(frame, static_cast<std::ptrdiff_t>(index % kv.size()));
    pool.give(*frame);
    kv.erase(frame);
  }
  void take(int most) {
    std::vector<BlockId> frames;
    pool.take(most, frames);
    ASSERT_LE(std::ssize(frames), most);
    for (const BlockId frame : frames) ASSERT_TRUE(kv.insert(frame).second) << frame;
  }
  void check() const {
    std::map<std::size_t, std::size_t> taken;  // begin -> end
    std::size_t run_bytes = 0;
    for (const auto& [run, bytes] : runs) {
      const auto begin = static_cast<std::size_t>(run - pool.memory());
      taken[begin] = begin + bytes;
      run_bytes += bytes;
    }
    for (const BlockId frame : kv) {
      const std::size_t begin = static_cast<std::size_t>(frame) * kFrame;
      ASSERT_TRUE(taken.emplace(begin, begin + kFrame).second);
    }
    std::size_t end = 0;
    for (const auto& [begin, its_end] : taken) {
      ASSERT_GE(begin, end);
      end = its_end;
    }
    ASSERT_LE(end, static_cast<std::size_t>(pool.num_frames()) * kFrame);
    const auto given = static_cast<std::size_t>(pool.num_frames() - std::ssize(kv)) * kFrame;
    ASSERT_EQ(pool.given_bytes(), given);
    ASSERT_EQ(pool.free_bytes() + run_bytes, given);
  }

  GranulePool& pool;
  std::map<std::byte*, std::size_t> runs;
  std::set<BlockId> kv;
};

TEST_F(GranulePoolMemory, NoByteIsEverOfTwoWhateverIsGivenTakenAndReleased) {
  GranulePool pool(kFrame, 40);
  Books books(pool);
  std::mt19937 random(7);
  for (int i = 0; i < 6000; ++i) {
    const auto index = static_cast<std::size_t>(random());
    switch (random() % 5) {
      case 0:
        if (!books.runs.empty()) books.release(index);
        break;
      case 1:
        if (!books.kv.empty()) books.give(index);
        break;
      case 2:
        books.take(static_cast<int>(random() % 4));
        break;
      default:
        books.allocate(1 + random() % (5 * pool.granule()));
    }
    books.check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_F(GranulePoolMemory, NeighboursAreMergedAndAllComesBack) {
  GranulePool pool(kFrame, 4);
  give_all(pool);
  std::byte* const runs[] = {pool.allocate(kFrame), pool.allocate(kFrame / 3),
                             pool.allocate(2 * kFrame)};
  for (std::byte* run : {runs[1], runs[0], runs[2]}) pool.release(run);
  std::byte* const whole = pool.allocate(4 * kFrame);
  EXPECT_EQ(whole, pool.memory());
  EXPECT_EQ(pool.allocate(1), nullptr);
  pool.release(whole);
  std::vector<BlockId> frames;
  pool.take(9, frames);
  EXPECT_EQ(frames, (std::vector<BlockId>{0, 1, 2, 3}));
  EXPECT_EQ(pool.given_bytes(), 0U);
}

TEST_F(GranulePoolMemory, RunsLieAtTheEndSoThatTheFirstFramesCanBeTaken) {
  GranulePool pool(kFrame, 8);
  give_all(pool);
  std::byte* const run = pool.allocate(kFrame + 1);
  ASSERT_NE(run, nullptr);
  std::vector<BlockId> frames;
  pool.take(8, frames);
  EXPECT_EQ(frames, (std::vector<BlockId>{0, 1, 2, 3, 4, 5}));
  pool.release(run);
  pool.take(8, frames);
  EXPECT_EQ(frames.size(), 8U);
}

TEST_F(GranulePoolMemory, NothingIsHalfTaken) {
  GranulePool pool(kFrame, 4);
  EXPECT_EQ(pool.allocate(1), nullptr) << "all frames are KV's";
  pool.give(1);
  EXPECT_EQ(pool.allocate(kFrame + 1), nullptr);
  EXPECT_EQ(pool.free_bytes(), kFrame);
}

}  // namespace
}  // namespace tessera
