#include "adapters/tokenizer_files.hpp"

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

TEST(TokenizerFiles, ThatDifferRefuseTheAdapterWhateverElseIsRight) {
  const TestPackage package;
  const auto validate = [&](const TokenizerCheck& check) {
    Validation validation =
        validate_adapter(package.config_text(), package.tensor_bytes(), test_base());
    const CarriedFile files[] = {{"tokenizer_config.json", "{}"}, {"tokenizer.json", "[]"}};
    check_tokenizer_files(files, check, validation);
    return validation;
  };
  const auto agrees = [](const CarriedFile&) -> std::optional<std::string> { return std::nullopt; };
  EXPECT_TRUE(validate(agrees).adapter);

  const auto differs = [](const CarriedFile& file) -> std::optional<std::string> {
    if (file.name != "tokenizer.json") return std::nullopt;
    return "It says " + std::string(file.content) + ".";
  };
  const Validation refused = validate(differs);
  EXPECT_FALSE(refused.adapter);
  EXPECT_FALSE(refused.report.ok());
  const Finding& finding = refused.report.findings.front();
  EXPECT_EQ(finding.code, FindingCode::kTokenizerMismatch);
  EXPECT_EQ(finding.subject, "tokenizer.json");
  EXPECT_EQ(finding.message, "The adapter was trained with another tokenizer: It says [].");
}

}  // namespace
}  // namespace tessera
