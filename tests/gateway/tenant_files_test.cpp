#include "gateway/adapters/tenant_files.hpp"

#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "gateway/config.hpp"
#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

using Bytes = TenantFiles::Bytes;

constexpr std::uint64_t kPlenty = std::uint64_t{1} << 40;
constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
const TenantId kAnn("ann");
const TenantId kBob("bob");

class TenantFilesTest : public testing::Test {
 protected:
  void SetUp() override { reopen(kNow); }

  // As after a restart.
  void reopen(WallTime now) {
    files_.reset();
    staging_.reset();
    store_.reset();
    store_ = open_rocks_store(directory_ / "store").value();
    staging_ = StagingFolder::open(directory_ / "staging").value();
    files_ = TenantFiles::open(*store_, *staging_, folder(), now).value();
  }
  std::filesystem::path folder() const { return directory_ / "files"; }
  std::size_t num_on_disk() const {
    const std::filesystem::directory_iterator begin(folder());
    return static_cast<std::size_t>(std::distance(begin, {}));
  }
  Bytes bytes(std::string_view text) {
    const auto writer = staging_->create(kPlenty).value();
    EXPECT_TRUE(writer->append(text));
    return writer->finish().value();
  }
  static std::string text(const Bytes& file) {
    return file->read(0, static_cast<std::size_t>(file->size())).value();
  }

  Result<FileRecord> add(std::string_view content, TenantFiles::Lifetime lifetime = {}) {
    return files_->add({kAnn}, {"a.tar", "fine-tune", lifetime}, bytes(content), kPlenty, kNow);
  }
  std::string upload(std::uint64_t size) {
    return files_->create_upload({kAnn}, {"a.tar", "fine-tune", "application/x-tar", size}, kNow)
        .value()
        .id;
  }
  Result<UploadPart> part(const std::string& id, std::string_view content, WallTime now = kNow) {
    return files_->add_part({kAnn}, id, bytes(content), kPlenty, now);
  }
  Code complete(const std::string& id, const std::vector<std::string>& parts,
                const std::string& md5 = "", WallTime now = kNow) {
    const auto view = files_->complete_upload({kAnn}, id, parts, md5, now);
    if (!view) return view.error().code;
    completed_ = *view;
    return Code::kInternalError;  // none
  }
  static constexpr Code kDone = Code::kInternalError;

  TempDir directory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StagingFolder> staging_;
  std::unique_ptr<TenantFiles> files_;
  TenantFiles::UploadView completed_;
};

TEST_F(TenantFilesTest, AFileIsThereAfterARestart) {
  const FileRecord added = add("content").value();
  EXPECT_TRUE(added.id.starts_with("file-"));
  EXPECT_EQ(added.bytes, 7U);
  EXPECT_EQ(staging_->bytes(), 0U) << "it is not staged any more";
  reopen(kNow);
  EXPECT_EQ(files_->get(kAnn, added.id, kNow).value(), added);
  EXPECT_EQ(text(files_->read(kAnn, added.id, kNow).value()), "content");
  EXPECT_EQ(files_->list(kAnn, kNow), std::vector{added});
  EXPECT_EQ(files_->bytes_of(kAnn), 7U);
}

TEST_F(TenantFilesTest, AnothersFileIsAsOneThatIsNotThere) {
  const FileRecord added = add("content").value();
  const std::string made_up = "file-01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const auto alike = [&](const Error& of_another, const Error& of_nobody) {
    EXPECT_EQ(of_another.code, Code::kNotFound);
    EXPECT_EQ(of_another.code, of_nobody.code);
    EXPECT_EQ(of_another.message, of_nobody.message);
    EXPECT_EQ(of_another.param, of_nobody.param);
  };
  alike(files_->get(kBob, added.id, kNow).error(), files_->get(kBob, made_up, kNow).error());
  alike(files_->read(kBob, added.id, kNow).error(), files_->read(kBob, made_up, kNow).error());
  alike(files_->remove({kBob}, added.id, kNow).error(),
        files_->remove({kBob}, made_up, kNow).error());
  const std::string id = upload(4);
  const std::string no_upload = "upload_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  alike(files_->get_upload(kBob, id, kNow).error(),
        files_->get_upload(kBob, no_upload, kNow).error());
  alike(files_->cancel_upload({kBob}, id, kNow).error(),
        files_->cancel_upload({kBob}, no_upload, kNow).error());
  alike(files_->add_part({kBob}, id, bytes("x"), kPlenty, kNow).error(),
        files_->add_part({kBob}, no_upload, bytes("x"), kPlenty, kNow).error());
  alike(files_->complete_upload({kBob}, id, {}, "", kNow).error(),
        files_->complete_upload({kBob}, no_upload, {}, "", kNow).error());
  EXPECT_TRUE(files_->list(kBob, kNow).empty());
  EXPECT_TRUE(files_->get(kAnn, added.id, kNow));
}

TEST_F(TenantFilesTest, IdsAreNeverPaths) {
  std::ofstream(directory_ / "secret") << "secret";
  for (const char* id : {"../secret", "/etc/passwd", ".", "", "file-\0x"}) {
    EXPECT_EQ(files_->read(kAnn, id, kNow).error().code, Code::kNotFound) << id;
    EXPECT_EQ(files_->remove({kAnn}, id, kNow).error().code, Code::kNotFound) << id;
  }
  EXPECT_TRUE(std::filesystem::exists(directory_ / "secret"));
}

TEST_F(TenantFilesTest, ADeletedFileIsGoneButForWhoeverReadsIt) {
  const FileRecord added = add("content").value();
  const Bytes open = files_->read(kAnn, added.id, kNow).value();
  ASSERT_TRUE(files_->remove({kAnn}, added.id, kNow));
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_EQ(files_->bytes_of(kAnn), 0U);
  EXPECT_FALSE(files_->get(kAnn, added.id, kNow));
  EXPECT_EQ(text(open), "content");
  reopen(kNow);
  EXPECT_FALSE(files_->get(kAnn, added.id, kNow));
}

TEST_F(TenantFilesTest, QuotaCountsFilesAndParts) {
  const auto add_of = [&](std::string_view content, std::uint64_t max_bytes) {
    return files_->add({kAnn}, {"a", "user_data"}, bytes(content), max_bytes, kNow);
  };
  ASSERT_TRUE(add_of("12345", 10));
  const std::string id = upload(100);
  ASSERT_TRUE(files_->add_part({kAnn}, id, bytes("123"), 10, kNow));
  EXPECT_EQ(add_of("123", 10).error().code, Code::kStorageQuotaExceeded);
  EXPECT_EQ(files_->add_part({kAnn}, id, bytes("123"), 10, kNow).error().code,
            Code::kStorageQuotaExceeded);
  EXPECT_EQ(files_->bytes_of(kAnn), 8U) << "refusals take nothing";
  EXPECT_EQ(num_on_disk(), 2U);
  EXPECT_TRUE(add_of("12", 10));
  EXPECT_EQ(add_of("1", 4).error().code, Code::kStorageQuotaExceeded) << "a quota that was cut";
}

TEST_F(TenantFilesTest, AFileEndsWithItsLifetime) {
  const FileRecord added = add("content", 1h).value();
  EXPECT_TRUE(files_->get(kAnn, added.id, kNow + 1h - 1us));
  EXPECT_FALSE(files_->get(kAnn, added.id, kNow + 1h));
  EXPECT_TRUE(files_->list(kAnn, kNow + 1h).empty());
  files_->sweep(kNow + 1h);
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_EQ(files_->bytes_of(kAnn), 0U);
}

TEST_F(TenantFilesTest, PartsInAnyOrderBecomeTheFile) {
  const std::string id = upload(9);
  const std::string last = part(id, "ghi").value().id;
  const std::string first = part(id, "abc").value().id;
  const std::string dropped = part(id, "xyz").value().id;
  const std::string middle = part(id, "def").value().id;
  ASSERT_EQ(complete(id, {first, middle, last}, "8aa99b1f439ff71293e95357bac6fd94"), kDone);
  EXPECT_EQ(completed_.upload.status, UploadStatus::kCompleted);
  ASSERT_TRUE(completed_.file);
  EXPECT_EQ(completed_.file->filename, "a.tar");
  EXPECT_EQ(text(files_->read(kAnn, completed_.file->id, kNow).value()), "abcdefghi");
  EXPECT_EQ(num_on_disk(), 1U) << "the parts went";
  EXPECT_EQ(files_->bytes_of(kAnn), 9U);
  EXPECT_EQ(complete(id, {first, middle, last}), Code::kConflict) << "only once";
  EXPECT_EQ(part(id, "abc").error().code, Code::kConflict);
  EXPECT_EQ(files_->cancel_upload({kAnn}, id, kNow).error().code, Code::kConflict);
}

TEST_F(TenantFilesTest, WhatIsWrongWithACompletionLeavesTheUploadAsItWas) {
  const std::string id = upload(6);
  const std::string one = part(id, "abc").value().id;
  const std::string two = part(id, "def").value().id;
  const std::string other = part(upload(6), "abc").value().id;
  EXPECT_EQ(complete(id, {one}), Code::kInvalidValue) << "too few bytes";
  EXPECT_EQ(complete(id, {one, one}), Code::kInvalidValue) << "twice";
  EXPECT_EQ(complete(id, {one, "part_nobody"}), Code::kInvalidValue);
  EXPECT_EQ(complete(id, {one, other}), Code::kInvalidValue) << "another upload's";
  EXPECT_EQ(complete(id, {one, two}, "00000000000000000000000000000000"), Code::kInvalidValue);
  EXPECT_EQ(complete(id, {one, two}), kDone);
}

TEST_F(TenantFilesTest, AnUploadGoesOnAfterARestart) {
  const std::string id = upload(6);
  const UploadPart one = part(id, "abc").value();
  reopen(kNow);
  const auto view = files_->get_upload(kAnn, id, kNow).value();
  EXPECT_EQ(view.upload.status, UploadStatus::kPending);
  EXPECT_EQ(view.parts, std::vector{one});
  const std::string two = part(id, "def").value().id;
  ASSERT_EQ(complete(id, {one.id, two}), kDone);
  reopen(kNow);
  const auto after = files_->get_upload(kAnn, id, kNow).value();
  EXPECT_EQ(after.upload.status, UploadStatus::kCompleted);
  EXPECT_EQ(text(files_->read(kAnn, after.file->id, kNow).value()), "abcdef");
}

TEST_F(TenantFilesTest, AnUploadExpiresWithItsParts) {
  const std::string id = upload(6);
  const std::string one = part(id, "abc").value().id;
  const WallTime later = kNow + kUploadLifetime;
  EXPECT_EQ(part(id, "def", later).error().code, Code::kConflict);
  EXPECT_EQ(complete(id, {one}, "", later), Code::kConflict);
  EXPECT_EQ(files_->get_upload(kAnn, id, later)->upload.status, UploadStatus::kExpired);
  files_->sweep(later + kFilesSweepPeriod);
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_EQ(files_->bytes_of(kAnn), 0U);
  reopen(later);
  EXPECT_EQ(files_->get_upload(kAnn, id, later)->upload.status, UploadStatus::kExpired);
  reopen(later + kEndedUploadKept);
  EXPECT_EQ(files_->get_upload(kAnn, id, later).error().code, Code::kNotFound);
}

TEST_F(TenantFilesTest, ACancelledUploadKeepsNothing) {
  const std::string id = upload(6);
  ASSERT_TRUE(part(id, "abc"));
  EXPECT_EQ(files_->cancel_upload({kAnn}, id, kNow)->upload.status, UploadStatus::kCancelled);
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_EQ(files_->bytes_of(kAnn), 0U);
  EXPECT_EQ(files_->cancel_upload({kAnn}, id, kNow).error().code, Code::kConflict);
}

TEST_F(TenantFilesTest, PartsAndUploadsAreBounded) {
  const std::string id = upload(3);
  ASSERT_TRUE(part(id, "abc"));
  ASSERT_TRUE(part(id, "abc")) << "one that is sent again has room";
  EXPECT_EQ(part(id, "a").error().code, Code::kRequestExceedsLimit);
  for (std::size_t i = 1; i < kMaxPendingUploadsOfTenant; ++i) upload(1);
  EXPECT_EQ(files_->create_upload({kAnn}, {"a", "user_data", "", 1}, kNow).error().code,
            Code::kRequestExceedsLimit);
  EXPECT_TRUE(files_->create_upload({kBob}, {"a", "user_data", "", 1}, kNow));
  EXPECT_TRUE(files_->create_upload({kAnn}, {"a", "user_data", "", 1}, kNow + kUploadLifetime));
}

TEST_F(TenantFilesTest, PartsComeInParallel) {
  const std::string id = upload(8'000);
  std::vector<std::string> ids(8);
  std::vector<Bytes> contents;
  for (int i = 0; i < 8; ++i) {
    contents.push_back(bytes(std::string(1'000, static_cast<char>('a' + i))));
  }
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    threads.emplace_back(
        [&, i] { ids[i] = files_->add_part({kAnn}, id, contents[i], kPlenty, kNow).value().id; });
  }
  threads.clear();
  ASSERT_EQ(complete(id, ids), kDone);
  const std::string whole = text(files_->read(kAnn, completed_.file->id, kNow).value());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(whole.substr(i * 1'000, 1'000), text(contents[i]));
  }
}

TEST_F(TenantFilesTest, WhatACrashLeftBesideTheRecordsGoes) {
  const FileRecord added = add("content").value();
  std::ofstream(folder() / "file-that-was-kept-without-its-record") << "stray";
  reopen(kNow);
  EXPECT_EQ(num_on_disk(), 1U);
  EXPECT_TRUE(files_->read(kAnn, added.id, kNow));
}

TEST_F(TenantFilesTest, ADamagedRecordIsToldAtTheStart) {
  Batch batch;
  ASSERT_TRUE(store_->write(batch.put(Family::kMeta, keys::file("ann", "file-1"), "{}")));
  files_.reset();
  const auto opened = TenantFiles::open(*store_, *staging_, folder(), kNow);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
}

// What was written of whom, with what it is about.
TEST_F(TenantFilesTest, EachChangeIsWrittenWithItsAuditRecord) {
  std::vector<std::string> told;
  files_.reset();
  files_ = TenantFiles::open(
               *store_, *staging_, folder(), kNow,
               [&](Batch batch, std::span<const AuditRecord> records) {
                 for (const AuditRecord& record : records) {
                   EXPECT_EQ(record.tenant, kAnn);
                   told.push_back(record.event + " " + record.actor.str() + " " + record.target);
                 }
                 return store_->write(batch);
               })
               .value();
  const FileActor key{kAnn, KeyId("k")};
  const FileRecord file =
      files_->add(key, {"a", "user_data", 1h}, bytes("x"), kPlenty, kNow).value();
  const std::string upload = files_->create_upload(key, {"b", "user_data", "", 1}, kNow).value().id;
  const std::string part = files_->add_part(key, upload, bytes("y"), kPlenty, kNow).value().id;
  const auto done = files_->complete_upload(key, upload, std::vector{part}, "", kNow).value();
  ASSERT_TRUE(files_->remove(key, done.file->id, kNow));
  const std::string second = files_->create_upload(key, {"b", "user_data", "", 1}, kNow).value().id;
  ASSERT_TRUE(files_->cancel_upload(key, second, kNow));
  const std::string third = files_->create_upload(key, {"b", "user_data", "", 1}, kNow).value().id;
  files_->sweep(kNow + kUploadLifetime);
  EXPECT_EQ(told, (std::vector<std::string>{
                      "file.created k " + file.id, "upload.created k " + upload,
                      "upload.part.created k " + part, "upload.completed k " + upload,
                      "file.created k " + done.file->id, "file.deleted k " + done.file->id,
                      "upload.created k " + second, "upload.cancelled k " + second,
                      "upload.created k " + third, "file.expired  " + file.id,
                      "upload.expired  " + third}));
}

TEST_F(TenantFilesTest, AChangeThatCannotBeWrittenIsNone) {
  bool broken = false;
  files_.reset();
  files_ = TenantFiles::open(*store_, *staging_, folder(), kNow,
                             [&](Batch batch, std::span<const AuditRecord>) -> Result<void> {
                               if (broken) return Error{Code::kStorageFull, "full"};
                               return store_->write(batch);
                             })
               .value();
  const FileRecord file = add("content").value();
  const std::string id = upload(3);
  const std::string one = part(id, "abc").value().id;
  broken = true;
  EXPECT_EQ(add("more").error().code, Code::kStorageFull);
  EXPECT_EQ(part(id, "abc").error().code, Code::kStorageFull);
  EXPECT_EQ(complete(id, {one}), Code::kStorageFull);
  EXPECT_EQ(files_->remove({kAnn}, file.id, kNow).error().code, Code::kStorageFull);
  EXPECT_EQ(files_->cancel_upload({kAnn}, id, kNow).error().code, Code::kStorageFull);
  broken = false;
  EXPECT_EQ(num_on_disk(), 2U);
  EXPECT_EQ(files_->bytes_of(kAnn), 10U);
  EXPECT_TRUE(files_->read(kAnn, file.id, kNow));
  EXPECT_EQ(complete(id, {one}), kDone);
}

TEST(FileRecords, RoundTrip) {
  FileRecord file{"file-1", kAnn, "ü \"x\".tar", "user_data", kPlenty, {}, kNow, kNow + 1h};
  file.sha256.bytes.fill(0xAB);
  EXPECT_EQ(decode_file_record(encode_record(file)).value(), file);
  file.expires_at.reset();
  EXPECT_EQ(decode_file_record(encode_record(file)).value(), file);
  const UploadRecord upload{"upload_1", kAnn, "a",       "fine-tune",      "text/plain",
                            7,          kNow, kNow + 1h, std::int64_t{60}, UploadStatus::kExpired,
                            "file-1"};
  EXPECT_EQ(decode_upload_record(encode_record(upload)).value(), upload);
  const UploadPart part{"part_1", kAnn, "upload_1", 7, file.sha256, kNow};
  EXPECT_EQ(decode_upload_part(encode_record(part)).value(), part);
  for (const char* text : {"", "[]", "{}", R"({"id": 7})"}) {
    EXPECT_EQ(decode_file_record(text).error().code, Code::kCorrupt);
    EXPECT_EQ(decode_upload_record(text).error().code, Code::kCorrupt);
    EXPECT_EQ(decode_upload_part(text).error().code, Code::kCorrupt);
  }
}

}  // namespace
}  // namespace tessera
