#include "gateway/http/staged_body.hpp"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "gateway/adapters/upload_forms.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=b";
constexpr auto kRules = std::to_array<PartRule>({
    {"name", PartRule::Kind::kField, 4},
    {"file", PartRule::Kind::kFile, 1000},
    {"other", PartRule::Kind::kFile, 1000},
});

std::string part(const std::string& name, const std::string& content) {
  return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"" + name +
         ".bin\"\r\nContent-Type: text/plain\r\n\r\n" + content + "\r\n";
}
const std::string kEnd = "--b--\r\n";

class StagedBodyTest : public testing::Test {
 protected:
  std::unique_ptr<BodyStage> form() { return stage_form(kType, kRules, *folder_, "ann").value(); }
  Result<StagedBody> staged(const std::string& body, std::size_t piece = 13) {
    const auto stage = form();
    for (std::size_t at = 0; at < body.size(); at += piece) {
      if (auto written = stage->write(body.substr(at, piece)); !written) return written.error();
    }
    return stage->finish();
  }
  Error error_of(const std::string& body) {
    const auto result = staged(body);
    return result ? Error{Code::kInternalError, "it was accepted"} : result.error();
  }

  TempDir directory_;
  std::unique_ptr<StagingFolder> folder_ =
      StagingFolder::open(directory_ / "staging", {.max_bytes = 1500}).value();
};

TEST_F(StagedBodyTest, FieldsStayInMemoryAndFilesAreOnDisk) {
  const std::string content(300, 'x');
  const auto body = staged(part("name", "bot") + part("file", content) + kEnd);
  ASSERT_TRUE(body) << body.error().message;
  ASSERT_EQ(body->parts.size(), 2U);
  EXPECT_EQ(body->part("name")->text, "bot");
  EXPECT_EQ(body->part("name")->file, nullptr);
  const StagedPart* const file = body->part("file");
  EXPECT_EQ(file->filename, "file.bin");
  EXPECT_EQ(file->content_type, "text/plain");
  EXPECT_TRUE(file->text.empty());
  EXPECT_EQ(file->file->read(0, 1000).value(), content);
  EXPECT_EQ(body->part("missing"), nullptr);
  EXPECT_EQ(folder_->bytes_of("ann"), 300U) << "counted as the tenant's";
}

TEST_F(StagedBodyTest, EmptyFilesAreFiles) {
  const auto body = staged(part("file", "") + kEnd);
  ASSERT_TRUE(body);
  EXPECT_EQ(body->part("file")->file->size(), 0U);
}

TEST_F(StagedBodyTest, AnUnknownPartIsRefusedBeforeItsContent) {
  const auto stage = form();
  const auto written = stage->write("--b\r\nContent-Disposition: form-data; name=x\r\n\r\n");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kUnknownParameter);
  EXPECT_EQ(written.error().param, "x");
}

TEST_F(StagedBodyTest, PartsThatAreTooLongAreRefusedByName) {
  for (const auto& [name, bytes] : {std::pair("name", 5), std::pair("file", 1001)}) {
    const Error error =
        error_of(part(name, std::string(static_cast<std::size_t>(bytes), 'x')) + kEnd);
    EXPECT_EQ(error.code, Code::kRequestExceedsLimit) << name;
    EXPECT_EQ(error.param, name);
  }
  EXPECT_EQ(folder_->bytes(), 0U);
}

TEST_F(StagedBodyTest, AFullFolderSaysSo) {
  const std::string body =
      part("file", std::string(900, 'x')) + part("other", std::string(900, 'x')) + kEnd;
  EXPECT_EQ(error_of(body).code, Code::kStorageFull);
  EXPECT_EQ(folder_->bytes(), 0U) << "the first part went too";
}

TEST_F(StagedBodyTest, AFormWithoutItsEndIsMalformedAndLeavesNothing) {
  EXPECT_EQ(error_of(part("file", "some")).code, Code::kInvalidValue);
  EXPECT_EQ(folder_->bytes(), 0U);
}

TEST_F(StagedBodyTest, AnAbandonedBodyLeavesNothing) {
  auto stage = form();
  ASSERT_TRUE(stage->write(part("name", "bot") + part("file", std::string(500, 'x'))));
  EXPECT_GT(folder_->bytes(), 0U);
  stage.reset();
  EXPECT_EQ(folder_->bytes(), 0U);
}

TEST_F(StagedBodyTest, AnyOtherBodyIsOneFile) {
  const auto stage = stage_file(10, *folder_, "ann");
  ASSERT_TRUE(stage->write("12345"));
  ASSERT_TRUE(stage->write("67890"));
  const auto body = stage->finish();
  ASSERT_TRUE(body);
  EXPECT_TRUE(body->parts.empty());
  EXPECT_EQ(body->file->read(0, 100).value(), "1234567890");
  EXPECT_EQ(stage_file(4, *folder_, "ann")->write("12345").error().code, Code::kPayloadTooLarge);
  EXPECT_EQ(stage_file(4, *folder_, "ann")->finish()->file->size(), 0U) << "of nothing too";
}

TEST_F(StagedBodyTest, OnlyFormsAreForms) {
  EXPECT_EQ(stage_form("text/plain", kRules, *folder_, "ann").error().code,
            Code::kUnsupportedMediaType);
}

TEST(ContentDigest, IsCheckedWhereItIsTold) {
  ContentDigest digest;
  digest.bytes.fill(0xFF);
  const std::string told = content_digest(digest);
  EXPECT_EQ(told, "sha-256=:" + std::string(42, '/') + "8=:");
  EXPECT_TRUE(check_content_digest("", digest));
  EXPECT_TRUE(check_content_digest(told, digest));
  EXPECT_TRUE(check_content_digest("sha-512=:AAAA:, " + told, digest));
  for (const std::string& other :
       {content_digest(ContentDigest{}), std::string("sha-512=:AAAA:"), std::string("nonsense")}) {
    const auto checked = check_content_digest(other, digest);
    ASSERT_FALSE(checked) << other;
    EXPECT_EQ(checked.error().code, Code::kInvalidValue);
    EXPECT_EQ(checked.error().param, "Content-Digest");
  }
}

TEST(UploadForms, TokenizerFilesGoByTheirNamesWithOrWithoutExtension) {
  EXPECT_EQ(tokenizer_file("tokenizer"), "tokenizer.json");
  EXPECT_EQ(tokenizer_file("added_tokens.json"), "added_tokens.json");
  EXPECT_EQ(tokenizer_file("adapter_config"), "");
  EXPECT_EQ(tokenizer_file(""), "");
}

}  // namespace
}  // namespace tessera
