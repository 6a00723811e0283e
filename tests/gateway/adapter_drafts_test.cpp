#include "gateway/adapters/adapter_drafts.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "gateway/config.hpp"
#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr std::uint64_t kPlenty = std::uint64_t{1} << 40;
constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
const TenantId kAnn("ann");
const TenantId kBob("bob");
constexpr const char* kConfig = "adapter_config.json";

class AdapterDraftsTest : public testing::Test {
 protected:
  void SetUp() override { reopen(kNow); }

  // As after a restart.
  void reopen(WallTime now) {
    drafts_.reset();
    staging_.reset();
    store_.reset();
    store_ = open_rocks_store(directory_ / "store").value();
    staging_ = StagingFolder::open(directory_ / "staging").value();
    drafts_ = AdapterDrafts::open(*store_, folder(), now, [this](Batch batch, auto records) {
                for (const AuditRecord& record : records) {
                  told_.push_back(record.event + " " + record.actor.str());
                }
                return store_->write(batch);
              }).value();
  }
  std::filesystem::path folder() const { return directory_ / "drafts"; }
  std::size_t num_on_disk() const {
    const std::filesystem::directory_iterator begin(folder());
    return static_cast<std::size_t>(std::distance(begin, {}));
  }
  AdapterDraft::File bytes(std::string_view text) {
    const auto writer = staging_->create(kPlenty).value();
    EXPECT_TRUE(writer->append(text));
    return writer->finish().value();
  }
  std::string create(WallTime now = kNow) {
    return drafts_->create({kAnn, KeyId("k")}, "bot", now).value().id;
  }
  Result<AdapterDraft> put(const std::string& id, std::string_view file, std::string_view content,
                           std::uint64_t max_bytes = kPlenty) {
    return drafts_->put({kAnn, KeyId("k")}, "bot", id, file, bytes(content), max_bytes, kNow);
  }
  static std::string text(const AdapterDraft& draft, const char* file) {
    const auto& bytes = draft.files.at(file);
    return bytes->read(0, static_cast<std::size_t>(bytes->size())).value();
  }

  TempDir directory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StagingFolder> staging_;
  std::unique_ptr<AdapterDrafts> drafts_;
  std::vector<std::string> told_;
};

TEST_F(AdapterDraftsTest, AreTheirTenantsAndTheirAdapters) {
  const std::string id = create();
  EXPECT_TRUE(drafts_->get(kAnn, "bot", id, kNow));
  for (const auto& other :
       {drafts_->get(kBob, "bot", id, kNow), drafts_->get(kAnn, "other", id, kNow),
        drafts_->get(kAnn, "bot", "draft_nobody", kNow), drafts_->take({kBob}, "bot", id, kNow),
        drafts_->put({kBob}, "bot", id, kConfig, bytes("x"), kPlenty, kNow)}) {
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, Code::kNotFound);
  }
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_TRUE(drafts_->take({kAnn}, "bot", id, kNow));
  EXPECT_FALSE(drafts_->take({kAnn}, "bot", id, kNow)) << "once";
}

TEST_F(AdapterDraftsTest, AFileThatWasAcknowledgedIsThereAfterARestart) {
  const std::string id = create();
  ASSERT_TRUE(put(id, kConfig, "one"));
  EXPECT_EQ(staging_->bytes(), 0U) << "it is not staged any more";
  reopen(kNow + 1min);
  const AdapterDraft draft = drafts_->get(kAnn, "bot", id, kNow + 1min).value();
  EXPECT_EQ(draft.created_at, kNow);
  EXPECT_EQ(draft.expires_at, kNow + kDraftLifetime);
  EXPECT_EQ(text(draft, kConfig), "one");
  ASSERT_TRUE(put(id, "adapter_model.safetensors", "two"));
  reopen(kNow + 2min);
  const AdapterDraft taken = drafts_->take({kAnn}, "bot", id, kNow + 2min).value();
  EXPECT_EQ(taken.files.size(), 2U);
  EXPECT_EQ(text(taken, kConfig), "one") << "whoever has the files reads on";
  EXPECT_EQ(num_on_disk(), 0U);
  reopen(kNow + 3min);
  EXPECT_FALSE(drafts_->get(kAnn, "bot", id, kNow + 3min));
}

TEST_F(AdapterDraftsTest, ExpireAndAreBounded) {
  std::string last;
  for (std::size_t i = 0; i < kMaxDraftsOfTenant; ++i) last = create();
  ASSERT_TRUE(put(last, kConfig, "text"));
  EXPECT_EQ(drafts_->create({kAnn}, "bot", kNow).error().code, Code::kRequestExceedsLimit);
  EXPECT_TRUE(drafts_->create({kBob}, "bot", kNow));
  EXPECT_TRUE(drafts_->get(kAnn, "bot", last, kNow + kDraftLifetime - 1us));
  EXPECT_FALSE(drafts_->get(kAnn, "bot", last, kNow + kDraftLifetime));
  EXPECT_EQ(num_on_disk(), 1U);
  drafts_->sweep(kNow + kDraftLifetime);
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_EQ(drafts_->bytes_of(kAnn), 0U);
  create(kNow + kDraftLifetime);
}

TEST_F(AdapterDraftsTest, ExpireWhileTheServerIsDown) {
  const std::string id = create();
  ASSERT_TRUE(put(id, kConfig, "text"));
  reopen(kNow + kDraftLifetime);
  EXPECT_EQ(num_on_disk(), 0U);
  EXPECT_FALSE(drafts_->get(kAnn, "bot", id, kNow));
}

TEST_F(AdapterDraftsTest, AFileThatIsSentAgainReplacesTheFirst) {
  const std::string id = create();
  ASSERT_TRUE(put(id, kConfig, "one"));
  ASSERT_TRUE(put(id, kConfig, "three"));
  EXPECT_EQ(drafts_->bytes_of(kAnn), 5U);
  EXPECT_EQ(num_on_disk(), 1U);
  reopen(kNow);
  EXPECT_EQ(text(drafts_->get(kAnn, "bot", id, kNow).value(), kConfig), "three");
}

TEST_F(AdapterDraftsTest, TheirBytesAreBoundedTogether) {
  const std::string id = create();
  const std::string other = create();
  ASSERT_TRUE(put(id, kConfig, "12345", 8));
  EXPECT_EQ(put(other, kConfig, "1234", 8).error().code, Code::kStorageQuotaExceeded);
  EXPECT_TRUE(put(id, kConfig, "12345678", 8)) << "what it replaces is given back";
  EXPECT_EQ(num_on_disk(), 1U);
}

TEST_F(AdapterDraftsTest, EachChangeIsWrittenWithItsAuditRecord) {
  const std::string id = create();
  ASSERT_TRUE(put(id, kConfig, "one"));
  ASSERT_TRUE(drafts_->take({kAnn, KeyId("k")}, "bot", id, kNow));
  create();
  drafts_->sweep(kNow + kDraftLifetime);
  EXPECT_EQ(told_, (std::vector<std::string>{"adapter.draft.created k", "adapter.draft.updated k",
                                             "adapter.draft.deleted k", "adapter.draft.created k",
                                             "adapter.draft.expired "}));
}

TEST_F(AdapterDraftsTest, WhatACrashLeftBesideTheRecordsGoes) {
  std::ofstream(folder() / "draftfile_without_a_record") << "stray";
  reopen(kNow);
  EXPECT_EQ(num_on_disk(), 0U);
}

TEST_F(AdapterDraftsTest, ADraftWhoseBytesAreNotThereIsEnded) {
  const std::string lost = create();
  const std::string whole = create();
  ASSERT_TRUE(put(lost, kConfig, "one"));
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    std::filesystem::remove(entry.path());
  }
  reopen(kNow);
  EXPECT_FALSE(drafts_->get(kAnn, "bot", lost, kNow));
  EXPECT_TRUE(drafts_->get(kAnn, "bot", whole, kNow));
  EXPECT_FALSE(store_->get(Family::kMeta, keys::draft("ann", lost)).value());
}

TEST_F(AdapterDraftsTest, ADamagedRecordIsToldAtTheStart) {
  Batch batch;
  ASSERT_TRUE(store_->write(batch.put(Family::kMeta, keys::draft("ann", "draft_1"), "{}")));
  drafts_.reset();
  EXPECT_EQ(AdapterDrafts::open(*store_, folder(), kNow).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace tessera
