#include "tenancy/recent_use.hpp"

#include <algorithm>

namespace tessera {
namespace {

// Names never have a NUL in them.
std::string key_place(const TenantId& tenant, const KeyId& key) {
  return tenant.str() + '\0' + 'k' + key.str();
}
std::string model_place(const TenantId& tenant, std::string_view model) {
  return (tenant.str() + '\0' + 'm').append(model);
}

// When a record's use counts, on the clock of this process. A wall clock that was set back may make
// it later than now; then it is now.
SteadyTime moment_of(const UsageRecord& record, Now now) {
  const auto ago = std::max<WallTime::duration>(now.wall - record.finished, {});
  return now.steady - ago / kRecentGrain * kRecentGrain;  // fewer: later
}

}  // namespace

Result<RecentUses> RecentUses::read(const UsageLedger& ledger, Now now) {
  RecentUses uses;
  uses.begin_ = now.steady - kRecentWindow;
  const auto scanned =
      ledger.scan(now.wall - kRecentWindow, WallTime::max(), [&](const UsageRecord& record) {
        const SteadyTime at = moment_of(record, now);
        const std::int64_t tokens = record.prompt_tokens + record.completion_tokens;
        const std::string_view model = record.model;
        uses.add(std::string(), at, tokens);
        uses.add(key_place(record.tenant, KeyId()), at, tokens);
        uses.add(key_place(record.tenant, record.key), at, tokens);
        uses.add(model_place(record.tenant, model.substr(0, model.find_first_of("@:"))), at,
                 tokens);
        return true;
      });
  if (!scanned) return scanned.error();
  return uses;
}

// Records come in the order in which they ended.
void RecentUses::add(const std::string& place, SteadyTime at, std::int64_t tokens) {
  std::vector<RecentUse>& uses = uses_[place];
  if (uses.empty()) uses.push_back({begin_, kMaxLimit, kMaxLimit});
  if (uses.size() == 1 || uses.back().at != at) uses.push_back({.at = at});
  uses.back().requests += 1;
  uses.back().tokens += tokens;
}

std::vector<RecentUse> RecentUses::find(const std::string& place) const {
  const auto found = uses_.find(place);
  return found == uses_.end() ? std::vector<RecentUse>() : found->second;
}

std::vector<RecentUse> RecentUses::of_all() const {
  return find(std::string());
}

std::vector<RecentUse> RecentUses::of(const TenantId& tenant, const KeyId& key) const {
  return find(key_place(tenant, key));
}

std::vector<RecentUse> RecentUses::of_model(const TenantId& tenant, std::string_view model) const {
  return find(model_place(tenant, model));
}

}  // namespace tessera
