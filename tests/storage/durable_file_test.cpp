#include "storage/durable_file.hpp"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

TEST(DurableFile, ReadsBackWhatWasWritten) {
  const TempDir directory;
  const std::string content("line\n\0binary", 12);
  ASSERT_TRUE(write_file_durably(directory / "file", content));
  EXPECT_EQ(read_file(directory / "file", 100).value(), content);
}

TEST(DurableFile, ReplacesAndLeavesNoTemporaryBehind) {
  const TempDir directory;
  ASSERT_TRUE(write_file_durably(directory / "file", "a long first content"));
  ASSERT_TRUE(write_file_durably(directory / "file", "second"));
  EXPECT_EQ(read_file(directory / "file", 100).value(), "second");
  const std::filesystem::directory_iterator files(directory.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(DurableFile, HasTheModeAskedForWhateverTheUmask) {
  const TempDir directory;
  const mode_t before = ::umask(0);
  ASSERT_TRUE(write_file_durably(directory / "secret", "x", 0600));
  ::umask(0777);
  ASSERT_TRUE(write_file_durably(directory / "open", "x", 0644));
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((directory / "secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat((directory / "open").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644U);
}

TEST(DurableFile, FailureNamesTheFileAndKeepsTheOld) {
  const TempDir directory;
  const auto nowhere = write_file_durably(directory / "missing/file", "x");
  ASSERT_FALSE(nowhere);
  EXPECT_NE(nowhere.error().message.find("missing/file"), std::string::npos);

  std::filesystem::create_directory(directory / "taken");  // a directory cannot be renamed over
  EXPECT_FALSE(write_file_durably(directory / "taken", "x"));
  EXPECT_TRUE(std::filesystem::is_directory(directory / "taken"));
  EXPECT_FALSE(std::filesystem::exists(directory / "taken.new"));
}

TEST(ReadFile, TellsMissingFromTooLong) {
  const TempDir directory;
  EXPECT_EQ(read_file(directory / "none", 10).error().code, Code::kNotFound);
  ASSERT_TRUE(write_file_durably(directory / "file", "12345"));
  EXPECT_EQ(read_file(directory / "file", 5).value(), "12345");
  EXPECT_EQ(read_file(directory / "file", 4).error().code, Code::kPayloadTooLarge);
}

}  // namespace
}  // namespace tessera
