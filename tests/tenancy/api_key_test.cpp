#include "tenancy/api_key.hpp"

#include <fstream>
#include <iterator>
#include <memory>

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "storage/digest.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'000'000s};

// Its last six characters were computed with zlib's crc32.
constexpr std::string_view kKnown =
    "sk-live-AbCdEfGhIjKl-56789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl0r7YqM";

TEST(ApiKey, TextFormIsTheDocumentedOne) {
  const auto key = parse_api_key(kKnown);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->kind, KeyKind::kLive);
  EXPECT_EQ(key->id.str(), "AbCdEfGhIjKl");
  EXPECT_EQ(key->secret, "56789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl");
  EXPECT_EQ(to_text(*key), kKnown);
}

TEST(ApiKey, NewOnesRoundTripAndDiffer) {
  for (const KeyKind kind : {KeyKind::kLive, KeyKind::kTest, KeyKind::kAdmin}) {
    const ApiKey key = new_api_key(kind);
    const auto parsed = parse_api_key(to_text(key));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->kind, kind);
    EXPECT_EQ(parsed->id, key.id);
    EXPECT_EQ(parsed->secret, key.secret);
    EXPECT_NE(new_api_key(kind).secret, key.secret);
  }
}

TEST(ApiKey, EveryChangeOfOneCharacterIsNoticed) {
  for (std::size_t i = 0; i < kKnown.size(); ++i) {
    std::string text(kKnown);
    text[i] = text[i] == 'x' ? 'y' : 'x';
    EXPECT_FALSE(parse_api_key(text)) << text;
  }
}

TEST(ApiKey, JunkIsRefused) {
  const std::string known(kKnown);
  for (const std::string& text :
       {std::string(), std::string("sk-"), std::string("sk-live-"), known + "A", known.substr(1),
        known.substr(0, known.size() - 1), " " + known, known + "\n", "Bearer " + known,
        std::string("sk-live-AbCdEfGhIj\0l-", 21) + known.substr(21), std::string(100'000, 'A')}) {
    EXPECT_FALSE(parse_api_key(text));
  }
}

TEST(ApiKey, RedactedFormHasNoSecret) {
  const auto key = parse_api_key(kKnown);
  EXPECT_EQ(redacted(key->kind, key->id), "sk-live-AbCdEfGhIjKl-****");
}

TEST(PepperFile, IsMadePrivateOnceAndReadBack) {
  const TempDir directory;
  const auto made = PepperFile::open(directory / "pepper");
  ASSERT_TRUE(made);
  struct stat status {};
  ASSERT_EQ(::stat((directory / "pepper").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(made->current_version(), 1U);

  const auto again = PepperFile::open(directory / "pepper");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->hmac(1, "text"), made->hmac(1, "text"));
  EXPECT_NE(PepperFile::open(directory / "another")->hmac(1, "text"), made->hmac(1, "text"));
}

TEST(PepperFile, LastVersionIsCurrentAndAllStayUsable) {
  const TempDir directory;
  const std::string content = "1 " + std::string(64, '0') + "\n2 " + std::string(64, 'a') + "\n";
  ASSERT_TRUE(write_file_durably(directory / "pepper", content, 0600));
  const auto peppers = PepperFile::open(directory / "pepper");
  ASSERT_TRUE(peppers);
  EXPECT_EQ(peppers->current_version(), 2U);
  EXPECT_TRUE(peppers->has(1));
  EXPECT_FALSE(peppers->has(3));
  EXPECT_EQ(peppers->hmac(1, "m"), hmac_sha256(std::vector<std::byte>(32), "m"));
}

TEST(PepperFile, ARotatedOneIsForNewKeysAndOldOnesStayAsTheyAre) {
  const TempDir directory;
  auto peppers = PepperFile::open(directory / "pepper").value();
  const auto before = peppers.hmac(1, "m");
  EXPECT_EQ(peppers.rotate().value(), 2U);
  EXPECT_EQ(peppers.current_version(), 2U);
  EXPECT_EQ(peppers.hmac(1, "m"), before);
  EXPECT_NE(peppers.hmac(2, "m"), before);
  const auto again = PepperFile::open(directory / "pepper").value();
  EXPECT_EQ(again.current_version(), 2U);
  EXPECT_EQ(again.hmac(1, "m"), before);
  EXPECT_EQ(again.hmac(2, "m"), peppers.hmac(2, "m"));
}

TEST(PepperFile, ARotationThatCannotBeWrittenChangesNothing) {
  auto directory = std::make_unique<TempDir>();
  auto peppers = PepperFile::open(*directory / "pepper").value();
  directory.reset();
  EXPECT_FALSE(peppers.rotate());
  EXPECT_EQ(peppers.current_version(), 1U);
  EXPECT_FALSE(peppers.has(2));
}

TEST(PepperFile, HoldsSoManyVersions) {
  const TempDir directory;
  auto peppers = PepperFile::open(directory / "pepper").value();
  for (std::size_t i = 1; i < PepperFile::kMaxPeppers; ++i) ASSERT_TRUE(peppers.rotate());
  EXPECT_EQ(peppers.rotate().error().code, Code::kConflict);
  EXPECT_EQ(PepperFile::open(directory / "pepper")->current_version(), PepperFile::kMaxPeppers);
}

TEST(PepperFile, AnythingElseIsCorruptAndIsNotReplaced) {
  const TempDir directory;
  const std::string digits(64, '0');
  for (const std::string& content :
       {std::string(), std::string("\n"), "1" + digits, "x " + digits, "1 " + digits.substr(1),
        "1 " + digits + "\n1 " + digits, "1 " + digits + " \n", "-1 " + digits}) {
    ASSERT_TRUE(write_file_durably(directory / "pepper", content, 0600));
    const auto opened = PepperFile::open(directory / "pepper");
    ASSERT_FALSE(opened) << content;
    EXPECT_EQ(opened.error().code, Code::kCorrupt);
    EXPECT_EQ(read_file(directory / "pepper", 1000).value(), content);
  }
}

TEST(PepperFile, ReadableByOthersIsRefused) {
  const TempDir directory;
  ASSERT_TRUE(PepperFile::open(directory / "pepper"));
  ASSERT_EQ(::chmod((directory / "pepper").c_str(), 0640), 0);
  EXPECT_EQ(PepperFile::open(directory / "pepper").error().code, Code::kCorrupt);
}

class VerifyApiKeyTest : public testing::Test {
 protected:
  ApiKeyRecord record_of(const ApiKey& key) const {
    return {.id = key.id,
            .kind = key.kind,
            .pepper_version = 1,
            .secret_hmac = peppers_.hmac(1, key.secret)};
  }

  TempDir directory_;
  PepperFile peppers_ = PepperFile::open(directory_ / "pepper").value();
  ApiKey key_ = new_api_key(KeyKind::kLive);
  ApiKeyRecord record_ = record_of(key_);
};

TEST_F(VerifyApiKeyTest, AcceptsTheKeyItself) {
  EXPECT_TRUE(verify_api_key(peppers_, &record_, key_, kNow));
}

TEST_F(VerifyApiKeyTest, RefusesAnotherSecretAnUnknownIdAndAnotherKind) {
  ApiKey other = new_api_key(KeyKind::kLive);
  other.id = key_.id;
  EXPECT_FALSE(verify_api_key(peppers_, &record_, other, kNow));
  EXPECT_FALSE(verify_api_key(peppers_, nullptr, key_, kNow));
  ApiKey as_admin = key_;
  as_admin.kind = KeyKind::kAdmin;
  EXPECT_FALSE(verify_api_key(peppers_, &record_, as_admin, kNow));
}

TEST_F(VerifyApiKeyTest, AnAllZeroHmacOpensNothing) {
  const ApiKeyRecord empty{.pepper_version = 1};
  EXPECT_FALSE(verify_api_key(peppers_, &empty, key_, kNow));
}

TEST_F(VerifyApiKeyTest, ARetiredSecretOpensExactlyUntilItsTime) {
  const ApiKey next{key_.kind, key_.id, new_api_key(KeyKind::kLive).secret};
  ApiKeyRecord rotated = record_of(next);
  rotated.retired = {1, record_.secret_hmac, kNow};
  EXPECT_TRUE(verify_api_key(peppers_, &rotated, key_, kNow - 1us));
  EXPECT_FALSE(verify_api_key(peppers_, &rotated, key_, kNow));
  EXPECT_TRUE(verify_api_key(peppers_, &rotated, next, kNow - 1us));
  EXPECT_TRUE(verify_api_key(peppers_, &rotated, next, kNow));
}

}  // namespace
}  // namespace tessera
