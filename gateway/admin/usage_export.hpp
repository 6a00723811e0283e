// usage_export.hpp — every usage record of a time, as text that is made while it is sent.
//
//   jsonl        one JSON object a line
//   csv          RFC 4180, with a line of names
//   cloudevents  one CloudEvents 1.0 object a line, of type "com.tessera.usage.recorded"
//
// Memory holds a page of records at a time, however many there are. The records are those that are
// there when their page is read; one that is written meanwhile may come, and none comes twice.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/http.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

inline constexpr std::size_t kUsageExportPage = 512;  // records read at once

enum class ExportFormat : std::uint8_t { kJsonLines, kCsv, kCloudEvents };

std::optional<ExportFormat> export_format_from_string(std::string_view name);
std::string_view media_type_of(ExportFormat format);

struct ExportQuery {
  WallTime from = {};
  WallTime to = {};                     // exclusive
  std::optional<TenantId> tenant = {};  // of one project only
  ExportFormat format = ExportFormat::kJsonLines;
  std::string source = {};  // of CloudEvents: whose records they are
};

// Used by one thread at a time; `ledger` outlives it.
class UsageExport final : public PieceSource {
 public:
  UsageExport(const UsageLedger& ledger, ExportQuery query);

  Result<std::string> next() override;

 private:
  void append(const UsageRecord& record, std::string& out) const;

  const UsageLedger& ledger_;
  const ExportQuery query_;
  bool begun_ = false;
  bool done_ = false;
  WallTime last_time_;   // of the last record that was told,
  std::string last_id_;  // and its request
};

}  // namespace tessera
