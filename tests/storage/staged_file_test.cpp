#include "storage/staged_file.hpp"

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using File = std::shared_ptr<const StagedFile>;

constexpr std::uint64_t kAnySize = std::uint64_t{1} << 40;

std::string sha256_hex(std::string_view text) {
  return to_hex(std::span<const std::uint8_t>(sha256(std::as_bytes(std::span(text)))));
}

class StagedFileTest : public testing::Test {
 protected:
  std::unique_ptr<StagingFolder> open(const StagingLimits& limits = {}) {
    return StagingFolder::open(path(), limits).value();
  }
  static File staged(StagingFolder& folder, std::string_view text, std::string_view owner = {}) {
    const auto writer = folder.create(kAnySize, owner).value();
    EXPECT_TRUE(writer->append(text));
    return writer->finish().value();
  }
  std::filesystem::path path() const { return directory_ / "staging"; }
  std::size_t num_names() const {
    const std::filesystem::directory_iterator begin(path());
    return static_cast<std::size_t>(std::distance(begin, {}));
  }

  TempDir directory_;
};

TEST_F(StagedFileTest, IsWhatWasAppendedAndItsDigest) {
  const auto folder = open();
  const auto writer = folder->create(kAnySize).value();
  ASSERT_TRUE(writer->append("one, "));
  ASSERT_TRUE(writer->append(""));
  ASSERT_TRUE(writer->append("two"));
  EXPECT_EQ(writer->size(), 8U);
  const File file = writer->finish().value();
  EXPECT_EQ(file->size(), 8U);
  EXPECT_EQ(file->read(0, 100).value(), "one, two");
  EXPECT_EQ(file->read(5, 2).value(), "tw");
  EXPECT_EQ(file->read(8, 1).value(), "");
  EXPECT_EQ(file->read(1000, 1).value(), "");
  EXPECT_EQ(to_hex(file->sha256()), sha256_hex("one, two"));
  const auto mapped = file->map().value();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped.data()), mapped.size()), "one, two");
  EXPECT_EQ(file->map().value().data(), mapped.data()) << "mapped once";
}

TEST_F(StagedFileTest, OfNothingIsAFileToo) {
  const auto folder = open();
  const File file = staged(*folder, "");
  EXPECT_EQ(file->size(), 0U);
  EXPECT_TRUE(file->map().value().empty());
  EXPECT_EQ(to_hex(file->sha256()), sha256_hex(""));
}

TEST_F(StagedFileTest, LeavesNothingWithItsLastOwner) {
  const auto folder = open();
  File file = staged(*folder, "text");
  File second = file;
  file.reset();
  EXPECT_EQ(second->read(0, 4).value(), "text");
  EXPECT_EQ(folder->bytes(), 4U);
  second.reset();
  EXPECT_EQ(folder->bytes(), 0U);
  EXPECT_EQ(num_names(), 0U);
}

TEST_F(StagedFileTest, AbandonedInTheMiddleLeavesNothing) {
  const auto folder = open();
  auto writer = folder->create(kAnySize).value();
  ASSERT_TRUE(writer->append(std::string(100'000, 'x')));
  EXPECT_EQ(folder->bytes(), 100'000U);
  writer.reset();
  EXPECT_EQ(folder->bytes(), 0U);
  EXPECT_EQ(num_names(), 0U);
}

TEST_F(StagedFileTest, MayOutliveItsFolder) {
  auto folder = open();
  const File file = staged(*folder, "text");
  folder.reset();
  EXPECT_EQ(file->read(0, 4).value(), "text");
}

TEST_F(StagedFileTest, DescriptorCannotWrite) {
  const auto folder = open();
  const File file = staged(*folder, "text");
  EXPECT_EQ(::fcntl(file->descriptor(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_NE(::fcntl(file->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_LT(::write(file->descriptor(), "x", 1), 0);
}

TEST_F(StagedFileTest, LimitOfAFileIsItsLastByte) {
  const auto folder = open();
  const auto writer = folder->create(4).value();
  ASSERT_TRUE(writer->append("four"));
  const auto refused = writer->append("x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPayloadTooLarge);
  EXPECT_EQ(folder->bytes(), 4U) << "the refusal took nothing";
}

TEST_F(StagedFileTest, FolderHoldsNoMoreThanItsLimit) {
  const auto folder = open({.max_bytes = 10});
  File first = staged(*folder, "123456");
  const auto writer = folder->create(kAnySize).value();
  ASSERT_TRUE(writer->append("1234"));
  const auto refused = writer->append("5");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kStorageFull);
  EXPECT_EQ(refused.error().message.find(directory_.path().string()), std::string::npos)
      << "a client reads it";
  first.reset();
  EXPECT_TRUE(folder->create(kAnySize).value()->append("123456"));
}

TEST_F(StagedFileTest, OwnersAreBoundedApart) {
  const auto folder = open({.max_bytes = 10, .max_bytes_of_owner = 5});
  const File anns = staged(*folder, "12345", "ann");
  const auto more = folder->create(kAnySize, "ann").value();
  EXPECT_EQ(more->append("1").error().code, Code::kStorageFull);
  const File bobs = staged(*folder, "1234", "bob");
  EXPECT_EQ(folder->bytes_of("ann"), 5U);
  EXPECT_EQ(folder->bytes_of("bob"), 4U);
  EXPECT_EQ(folder->bytes_of("eve"), 0U);
}

TEST_F(StagedFileTest, DiskKeepsItsReserve) {
  const auto folder = open({.reserve_bytes = std::uint64_t{1} << 60});
  const auto writer = folder->create(kAnySize).value();
  const auto refused = writer->append("x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kStorageFull);
}

TEST_F(StagedFileTest, WhatAKilledProcessLeftGoesWhenTheFolderIsOpened) {
  open();
  std::ofstream(path() / "left") << "over";
  std::filesystem::create_directories(path() / "deep" / "er");
  open();
  EXPECT_EQ(num_names(), 0U);
}

TEST_F(StagedFileTest, JoinPutsPartsInOrder) {
  const auto folder = open();
  const std::string long_part(3'000'000, 'b');
  const std::vector<File> parts = {staged(*folder, "a"), staged(*folder, long_part),
                                   staged(*folder, ""), staged(*folder, "c")};
  const File whole = folder->join(parts).value();
  const std::string expected = "a" + long_part + "c";
  EXPECT_EQ(whole->read(0, expected.size() + 1).value(), expected);
  EXPECT_EQ(to_hex(whole->sha256()), sha256_hex(expected));
}

TEST_F(StagedFileTest, JoinThatDoesNotFitLeavesNothing) {
  const auto folder = open({.max_bytes = 5});
  const std::vector<File> parts = {staged(*folder, "123")};
  EXPECT_EQ(folder->join(parts).error().code, Code::kStorageFull);
  EXPECT_EQ(folder->bytes(), 3U);
}

TEST_F(StagedFileTest, KeptFileHasANameAndLivesOn) {
  const auto folder = open();
  const auto kept = directory_ / "kept";
  ContentDigest digest;
  {
    const File file = staged(*folder, "text");
    ASSERT_TRUE(file->keep(kept));
    EXPECT_FALSE(file->keep(kept)) << "the name is taken";
    digest = file->sha256();
  }
  EXPECT_EQ(folder->bytes(), 0U);
  const File again = open_kept_file(kept, digest).value();
  EXPECT_EQ(again->read(0, 10).value(), "text");
  EXPECT_EQ(again->sha256(), digest);
  EXPECT_EQ(again->keep(directory_ / "twice").error().code, Code::kIo);
  std::filesystem::remove(kept);
  EXPECT_EQ(again->read(0, 10).value(), "text") << "readers keep what they have open";
  EXPECT_EQ(open_kept_file(kept, digest).error().code, Code::kNotFound);
}

TEST_F(StagedFileTest, KeptUnderAFolderThatIsNotThereIsRefused) {
  const auto folder = open();
  EXPECT_FALSE(staged(*folder, "text")->keep(directory_ / "no" / "where"));
}

TEST_F(StagedFileTest, FileThatWasCutShortIsCorrupt) {
  const auto folder = open();
  const auto kept = directory_ / "kept";
  ASSERT_TRUE(staged(*folder, "some text")->keep(kept));
  const File file = open_kept_file(kept, {}).value();
  ASSERT_EQ(::truncate(kept.c_str(), 4), 0);
  EXPECT_EQ(file->read(0, 9).error().code, Code::kCorrupt);
}

TEST_F(StagedFileTest, WritersOfManyThreadsAreCountedTogether) {
  const auto folder = open({.max_bytes = 64'000});
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&folder, t] {
      const auto writer = folder->create(kAnySize, t % 2 == 0 ? "ann" : "bob").value();
      for (int i = 0; i < 80; ++i) EXPECT_TRUE(writer->append(std::string(100, 'x')));
      EXPECT_EQ(writer->finish().value()->size(), 8'000U);
    });
  }
  threads.clear();
  EXPECT_EQ(folder->bytes(), 0U);
}

}  // namespace
}  // namespace tessera
