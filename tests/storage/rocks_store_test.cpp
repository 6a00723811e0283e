#include <fstream>
#include <map>
#include <random>
#include <thread>

#include <sys/mount.h>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "storage/store.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs scanned(const Store& store, Family family, std::string_view prefix,
              std::string_view start = "") {
  Pairs pairs;
  const auto done = store.scan(family, prefix, start, [&](auto key, auto value) {
    pairs.emplace_back(key, value);
    return true;
  });
  EXPECT_TRUE(done);
  return pairs;
}

std::unique_ptr<Store> open_in(const std::filesystem::path& directory) {
  auto store = open_rocks_store(directory);
  EXPECT_TRUE(store) << store.error().message;
  return store ? std::move(*store) : nullptr;
}

class RocksStoreTest : public testing::Test {
 protected:
  TempDir directory_;
  std::unique_ptr<Store> store_ = open_in(directory_ / "db");
};

TEST_F(RocksStoreTest, GetsWhatWasPutAndNothingElse) {
  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, binary, binary)));
  EXPECT_EQ(store_->get(Family::kMeta, binary).value(), binary);
  EXPECT_EQ(store_->get(Family::kMeta, "x").value(), std::nullopt);
  EXPECT_EQ(store_->get(Family::kLedger, binary).value(), std::nullopt);
}

// Large enough for a table of its own, and small enough for the log.
TEST_F(RocksStoreTest, IngestedEntriesAreThereAndCanBeErasedAndReclaimed) {
  for (const std::size_t count : {3U, 20U}) {
    const std::string prefix = "p" + std::to_string(count) + "/";
    std::vector<std::string> values;
    for (std::size_t i = 0; i < count; ++i) values.emplace_back(kChunkBytes, static_cast<char>(i));
    std::vector<Store::Entry> entries;
    for (std::size_t i = 0; i < count; ++i) {
      entries.push_back({.key = prefix + keys::big_endian(std::uint32_t(i)), .value = values[i]});
    }
    ASSERT_TRUE(store_->ingest(Family::kChunks, entries));
    store_.reset();
    store_ = open_in(directory_ / "db");
    const Pairs found = scanned(*store_, Family::kChunks, prefix);
    ASSERT_EQ(found.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(found[i].first, entries[i].key);
      EXPECT_TRUE(found[i].second == values[i]) << i;
    }
    Batch batch;
    for (const auto& entry : entries) batch.erase(Family::kChunks, entry.key);
    ASSERT_TRUE(store_->write(batch));
    store_->reclaim(Family::kChunks, prefix);
    EXPECT_TRUE(scanned(*store_, Family::kChunks, prefix).empty());
    // The same keys again, as when a package is uploaded anew.
    ASSERT_TRUE(store_->ingest(Family::kChunks, entries));
    EXPECT_EQ(scanned(*store_, Family::kChunks, prefix).size(), count);
  }
}

TEST_F(RocksStoreTest, ReclaimGivesBackTheDiskAndWhatACrashLeftGoes) {
  const auto disk = [&] {
    std::uintmax_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory_ / "db")) {
      if (file.path().extension() == ".sst") bytes += file.file_size();
    }
    return bytes;
  };
  const std::string value(std::size_t{32} << 20, 'v');
  const std::vector<Store::Entry> entries{{.key = "a", .value = value}};
  ASSERT_TRUE(store_->ingest(Family::kChunks, entries));
  EXPECT_GE(disk(), value.size());
  ASSERT_TRUE(store_->write(Batch().erase(Family::kChunks, "a")));
  store_->reclaim(Family::kChunks, "a");
  EXPECT_LT(disk(), value.size());
  store_.reset();
  std::ofstream(directory_ / "db" / "ingest-7") << "half a table";
  store_ = open_in(directory_ / "db");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "db" / "ingest-7"));
  EXPECT_EQ(store_->get(Family::kChunks, "a").value(), std::nullopt);
}

TEST_F(RocksStoreTest, ScanVisitsAPrefixInByteOrderFromStart) {
  Batch batch;
  for (const std::string key : {"b", "a/1", "a/2", "a/3", "a", "a0", "a/\xff"}) {
    batch.put(Family::kAudit, key, "v" + key);
  }
  ASSERT_TRUE(store_->write(batch));
  EXPECT_EQ(scanned(*store_, Family::kAudit, "a/"),
            (Pairs{{"a/1", "va/1"}, {"a/2", "va/2"}, {"a/3", "va/3"}, {"a/\xff", "va/\xff"}}));
  EXPECT_EQ(scanned(*store_, Family::kAudit, "a/", "a/2x").size(), 2U);
  EXPECT_EQ(scanned(*store_, Family::kAudit, "a/", "A").size(), 4U);
  EXPECT_EQ(scanned(*store_, Family::kAudit, "").size(), 7U);
  EXPECT_TRUE(scanned(*store_, Family::kAudit, "a/", "b").empty());
}

TEST_F(RocksStoreTest, ScanOfAPrefixOfHighestBytesEndsAtTheEndOfTheFamily) {
  ASSERT_TRUE(store_->write(
      Batch().put(Family::kAudit, "\xff\xff", "1").put(Family::kAudit, "\xff\xff\x01", "2")));
  EXPECT_EQ(scanned(*store_, Family::kAudit, "\xff\xff").size(), 2U);
}

TEST_F(RocksStoreTest, ScanStopsWhenToldAndSeesOneSnapshot) {
  ASSERT_TRUE(
      store_->write(Batch().put(Family::kMeta, "x1", "").put(Family::kMeta, "x2", "before")));
  std::string second;
  ASSERT_TRUE(
      store_->scan(Family::kMeta, "x", "", [&](std::string_view key, std::string_view value) {
        if (key == "x1") {
          EXPECT_TRUE(store_->write(Batch().put(Family::kMeta, "x2", "after")));
        }
        second = value;
        return key != "x2";
      }));
  EXPECT_EQ(second, "before");
}

TEST_F(RocksStoreTest, FailedExpectationWritesNothing) {
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, "a", "1")));
  const auto refused = store_->write(Batch()
                                         .expect(Family::kMeta, "b", std::nullopt)
                                         .expect(Family::kMeta, "a", "2")
                                         .put(Family::kMeta, "b", "x")
                                         .erase(Family::kMeta, "a"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPreconditionFailed);
  EXPECT_EQ(store_->get(Family::kMeta, "a").value(), "1");
  EXPECT_EQ(store_->get(Family::kMeta, "b").value(), std::nullopt);
}

TEST_F(RocksStoreTest, HeldExpectationsLetTheBatchThrough) {
  ASSERT_TRUE(
      store_->write(Batch().expect(Family::kMeta, "a", std::nullopt).put(Family::kMeta, "a", "")));
  EXPECT_FALSE(store_->write(Batch().expect(Family::kMeta, "a", std::nullopt)));
  EXPECT_TRUE(store_->write(Batch()
                                .expect(Family::kMeta, "a", "")
                                .erase(Family::kMeta, "a")
                                .put(Family::kAudit, "b", "")));
  EXPECT_EQ(store_->get(Family::kMeta, "a").value(), std::nullopt);
}

// Whatever was put, moved or erased before: few keys, so that most batches follow one of their own.
TEST_F(RocksStoreTest, ExpectationsHoldExactlyWhereTheyDoOfAMap) {
  using Key = std::pair<Family, std::string>;
  std::mt19937 random(11);
  std::map<Key, std::string> map;
  const auto any_key = [&] {
    return Key(random() % 2 == 0 ? Family::kMeta : Family::kLedger,
               std::string(1, "ab"[random() % 2]));
  };
  const auto value_of = [&](const Key& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::nullopt : std::optional(found->second);
  };
  int num_refused = 0, num_applied = 0;
  for (int i = 0; i < 3000; ++i) {
    Batch batch;
    bool holds = true;
    auto after = map;
    for (int n = static_cast<int>(random() % 3); n > 0; --n) {
      const Key key = any_key();
      const auto wanted = random() % 8 == 0 ? std::optional<std::string>("no") : value_of(key);
      batch.expect(key.first, key.second, wanted);
      holds = holds && wanted == value_of(key);
    }
    for (int n = static_cast<int>(random() % 3); n > 0; --n) {
      const Key key = any_key();
      const std::string value = std::to_string(random() % 4);
      batch.put(key.first, key.second, value);
      after[key] = value;
    }
    if (random() % 4 == 0) {
      const Key key = any_key();
      batch.erase(key.first, key.second);
      after.erase(key);
    }
    ASSERT_EQ(store_->write(batch, Durability::kBuffered).has_value(), holds) << i;
    if (holds) map = after;
    ++(holds ? num_applied : num_refused);
  }
  EXPECT_GT(num_applied, 1000);
  EXPECT_GT(num_refused, 100);
}

TEST_F(RocksStoreTest, ExpectationsOfThreadsNeverInterleave) {
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, "counter", "0")));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int done = 0; done < 50;) {
        const std::string seen = store_->get(Family::kMeta, "counter").value().value();
        const auto written =
            store_->write(Batch()
                              .expect(Family::kMeta, "counter", seen)
                              .put(Family::kMeta, "counter", std::to_string(std::stoi(seen) + 1)),
                          Durability::kBuffered);
        if (written) ++done;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(store_->get(Family::kMeta, "counter").value(), "200");
}

TEST_F(RocksStoreTest, EverythingIsThereAfterReopening) {
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, "a", "synced")));
  ASSERT_TRUE(store_->write(Batch().put(Family::kLedger, "b", "buffered"), Durability::kBuffered));
  ASSERT_TRUE(store_->sync());
  store_.reset();
  store_ = open_in(directory_ / "db");
  EXPECT_EQ(store_->get(Family::kMeta, "a").value(), "synced");
  EXPECT_EQ(store_->get(Family::kLedger, "b").value(), "buffered");
}

TEST_F(RocksStoreTest, ClosedInGoodOrderItLeavesNoLongLogToTheNextOpening) {
  const auto log_bytes = [&] {
    std::uintmax_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory_ / "db")) {
      if (file.path().extension() == ".log") bytes += file.file_size();
    }
    return bytes;
  };
  const std::string value(kChunkBytes, 'v');
  for (const char* key : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, key, value), Durability::kBuffered));
  }
  ASSERT_TRUE(store_->write(Batch().put(Family::kLedger, "e", "small")));
  EXPECT_GE(log_bytes(), 4 * kChunkBytes);
  store_.reset();
  EXPECT_LT(log_bytes(), kChunkBytes);
  store_ = open_in(directory_ / "db");
  EXPECT_EQ(scanned(*store_, Family::kMeta, "").size(), 5U);  // the format's version, too
  EXPECT_EQ(store_->get(Family::kLedger, "e").value(), "small");
}

TEST_F(RocksStoreTest, AgreesWithAMapThroughRandomBatchesAndReopenings) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](int end) {
    return static_cast<int>(random() % static_cast<unsigned>(end));
  };
  std::map<std::pair<Family, std::string>, std::string> model;
  for (int step = 0; step < 400; ++step) {
    Batch batch;
    auto next = model;
    for (int change = below(6); change >= 0; --change) {
      const auto family = static_cast<Family>(below(kNumFamilies));
      const std::string key = "k" + std::to_string(below(30));
      if (below(2) == 0) continue;
      next[{family, key}] = std::to_string(step);
      batch.put(family, key, std::to_string(step));
    }
    const auto erased_family = static_cast<Family>(below(kNumFamilies));
    batch.erase(erased_family, "e" + std::to_string(below(5)));
    const std::string guarded = "k" + std::to_string(below(30));
    const auto found = model.find({Family::kMeta, guarded});
    const bool holds = below(3) != 0;
    std::optional<std::string> expected;
    if (found != model.end()) expected = found->second;
    if (!holds) expected = expected ? *expected + "?" : "?";
    batch.expect(Family::kMeta, guarded, expected);
    ASSERT_EQ(store_->write(batch, Durability::kBuffered).has_value(), holds);
    if (holds) model = next;
    if (below(100) == 0) {
      store_.reset();
      store_ = open_in(directory_ / "db");
    }
  }
  for (int f = 0; f < kNumFamilies; ++f) {
    Pairs expected;
    for (const auto& [key, value] : model) {
      if (key.first == static_cast<Family>(f)) expected.emplace_back(key.second, value);
    }
    EXPECT_EQ(scanned(*store_, static_cast<Family>(f), "k"), expected);
  }
}

TEST_F(RocksStoreTest, LargeChunksOfOneBatchComeBackWhole) {
  Batch batch;
  for (int i = 0; i < 16; ++i) {
    batch.put(Family::kChunks, std::string(1, static_cast<char>('a' + i)),
              std::string(kChunkBytes, static_cast<char>(i)));
  }
  ASSERT_TRUE(store_->write(batch));
  store_.reset();
  store_ = open_in(directory_ / "db");
  EXPECT_EQ(store_->get(Family::kChunks, "p").value(), std::string(kChunkBytes, '\x0f'));
}

TEST_F(RocksStoreTest, SecondOpeningIsRefusedAndSaysWhy) {
  const auto second = open_rocks_store(directory_ / "db");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kIo);
  EXPECT_NE(second.error().message.find("has it open"), std::string::npos);
}

TEST_F(RocksStoreTest, CanBeReadWhileItIsOpenButNotWritten) {
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, "k", "value")));
  const auto reader = open_rocks_store_read_only(directory_ / "db").value();
  EXPECT_EQ(reader->get(Family::kMeta, "k").value(), "value");
  const auto written = reader->write(Batch().put(Family::kMeta, "k", "other"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kIo);
  EXPECT_EQ(store_->get(Family::kMeta, "k").value(), "value");
}

TEST_F(RocksStoreTest, ReadOnlyOpeningMakesNothing) {
  EXPECT_EQ(open_rocks_store_read_only(directory_ / "absent").error().code, Code::kIo);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "absent" / "CURRENT"));
}

TEST_F(RocksStoreTest, StoreOfAnotherFormatIsRefused) {
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, keys::format_version(), "999")));
  store_.reset();
  const auto opened = open_rocks_store(directory_ / "db");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
  EXPECT_NE(opened.error().message.find("999"), std::string::npos);
}

// From then on a program that reads that older format alone refuses it; reading does not mark it.
TEST_F(RocksStoreTest, StoreOfTheOldestFormatIsTakenOver) {
  const auto version = [&] { return store_->get(Family::kMeta, keys::format_version()).value(); };
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, keys::format_version(), "1")));
  store_.reset();
  store_ = open_rocks_store_read_only(directory_ / "db").value();
  EXPECT_EQ(version(), "1");
  store_.reset();
  store_ = open_rocks_store(directory_ / "db").value();
  EXPECT_EQ(version(), std::to_string(keys::kFormatVersion));
}

TEST_F(RocksStoreTest, DamageInTheMiddleOfTheLogIsToldAndNotSkipped) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, "k" + std::to_string(i), "value"),
                              Durability::kBuffered));
  }
  // A copy taken while the store is open is what a crash would have left.
  const auto crashed = directory_ / "crashed";
  std::filesystem::copy(directory_ / "db", crashed);
  for (const auto& file : std::filesystem::directory_iterator(crashed)) {
    if (file.path().extension() != ".log") continue;
    std::fstream log(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    log.seekp(static_cast<std::streamoff>(file.file_size() / 2));
    log << "damage";
  }
  const auto opened = open_rocks_store(crashed);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
}

TEST(RocksStore, CannotBeMadeWhereAFileIs) {
  const TempDir directory;
  std::ofstream(directory / "file") << "x";
  EXPECT_EQ(open_rocks_store(directory / "file").error().code, Code::kIo);
}

// A small file system in memory; only root can have one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::filesystem::path& where) : where_(where) {
    std::filesystem::create_directory(where_);
    mounted_ = ::mount("tmpfs", where_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount(where_.c_str());
  }
  bool mounted() const { return mounted_; }

 private:
  std::filesystem::path where_;
  bool mounted_;
};

TEST(RocksStore, FullDiskRefusesWritesKeepsServingAndRecoversWhenThereIsRoom) {
  const TempDir directory;
  const SmallDisk disk(directory / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a small file system";
  const auto ballast = directory / "disk/ballast";
  std::ofstream(ballast) << std::string(std::size_t{6} << 20, 'x') << std::flush;
  auto store = open_in(directory / "disk/db");
  ASSERT_NE(store, nullptr);
  const auto write_chunk = [&](int i) {
    return store->write(
        Batch().put(Family::kChunks, std::to_string(i), std::string(kChunkBytes, 'x')));
  };

  int written = 0;
  while (written < 100 && write_chunk(written)) ++written;
  for (int again = 0; again < 3; ++again) {
    const auto result = write_chunk(written);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::kStorageFull) << result.error().message;
  }
  ASSERT_GT(written, 0);
  EXPECT_TRUE(store->get(Family::kChunks, "0").value().has_value());
  EXPECT_FALSE(store->get(Family::kChunks, std::to_string(written)).value().has_value());

  std::filesystem::remove(ballast);
  EXPECT_TRUE(store->write(Batch().put(Family::kMeta, "after", "x")));
  store.reset();
  store = open_in(directory / "disk/db");
  EXPECT_EQ(store->get(Family::kMeta, "after").value(), "x");
  EXPECT_EQ(static_cast<int>(scanned(*store, Family::kChunks, "").size()), written);
}

}  // namespace
}  // namespace tessera
