#include "gateway/admin/usage_export.hpp"

#include <memory>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "storage/json.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

constexpr WallTime kStart{1'700'000'000s};

class UsageExportTest : public testing::Test {
 protected:
  void record(int number, const std::string& tenant, WallTime finished,
              const std::string& model = "bot@1") {
    const std::string digits = std::to_string(number);
    UsageRecord record{.request = RequestId("req_" + std::string(6 - digits.size(), '0') + digits),
                       .tenant = TenantId(tenant),
                       .key = KeyId("key"),
                       .model = model,
                       .prompt_tokens = 10,
                       .completion_tokens = 5,
                       .cost = {.pico_dollars = 7},
                       .finish = "stop",
                       .started = finished - 1s,
                       .finished = finished};
    ASSERT_TRUE(ledger_.record(record));
  }

  // All of it, and the number of its pieces.
  std::string whole(ExportQuery query, int* num_pieces = nullptr) {
    query.from = WallTime(0s);
    if (query.to == WallTime()) query.to = kStart + 1000h;
    UsageExport exported(ledger_, std::move(query));
    std::string text;
    int count = 0;
    for (;;) {
      const auto piece = exported.next();
      EXPECT_TRUE(piece) << piece.error().message;
      if (!piece || piece->empty()) break;
      text += *piece;
      ++count;
    }
    EXPECT_EQ(exported.next().value(), "") << "it stays at its end";
    if (num_pieces) *num_pieces = count;
    return text;
  }

  static std::vector<nlohmann::ordered_json> lines(const std::string& text) {
    std::vector<nlohmann::ordered_json> found;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      found.push_back(parse_json(text.substr(at, end - at)).value());
      at = end + 1;
    }
    return found;
  }

  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
  UsageLedger ledger_{*store_};
};

TEST_F(UsageExportTest, EveryRecordComesOnceThoughPagesEndWithinAnInstant) {
  const int count = static_cast<int>(2 * kUsageExportPage + 17);
  for (int i = 0; i < count; ++i) record(i, "a", kStart + (i / 700) * 1s);
  int num_pieces = 0;
  const auto found = lines(whole({}, &num_pieces));
  EXPECT_EQ(num_pieces, 3);
  std::set<std::string> ids;
  for (const auto& line : found) ids.insert(line.at("request_id"));
  EXPECT_EQ(found.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(count));
}

TEST_F(UsageExportTest, OfOneTenantAndOfATime) {
  for (int i = 0; i < 20; ++i) record(i, i % 2 == 0 ? "a" : "b", kStart + i * 1s);
  EXPECT_EQ(lines(whole({.tenant = TenantId("b")})).size(), 10U);
  EXPECT_EQ(lines(whole({.to = kStart + 4s})).size(), 4U);
  EXPECT_EQ(whole({.tenant = TenantId("c")}), "");
}

TEST_F(UsageExportTest, AsCsvItHasNamesAndNothingThatASpreadsheetRuns) {
  record(1, "a", kStart, "=cmd|' /C calc'!A0");
  record(2, "a", kStart + 1s, "one,\"two\"");
  const std::string text = whole({.format = ExportFormat::kCsv});
  EXPECT_THAT(text, StartsWith("request_id,project_id,api_key_id,model,"));
  EXPECT_THAT(text, HasSubstr(",'=cmd|' /C calc'!A0,"));
  EXPECT_THAT(text, HasSubstr(",\"one,\"\"two\"\"\","));
  EXPECT_EQ(std::ranges::count(text, '\n'), 3);
}

TEST_F(UsageExportTest, AsCloudEvents) {
  record(1, "a", kStart + 250ms);
  const auto event = lines(whole({.format = ExportFormat::kCloudEvents, .source = "/here"})).at(0);
  EXPECT_EQ(event.at("specversion"), "1.0");
  EXPECT_EQ(event.at("id"), "req_000001");
  EXPECT_EQ(event.at("source"), "/here");
  EXPECT_EQ(event.at("time"), "2023-11-14T22:13:20.250000Z");
  EXPECT_EQ(event.at("data").at("cost_pico_usd"), 7);
}

TEST_F(UsageExportTest, OfNothingIsEmptyButForTheNames) {
  EXPECT_EQ(whole({}), "");
  EXPECT_THAT(whole({.format = ExportFormat::kCsv}), StartsWith("request_id,"));
}

}  // namespace
}  // namespace tessera
