#include "gateway/inference/compile_limits.hpp"

#include <algorithm>

#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr std::size_t kMaxEntries = 4096;  // of tenants, before idle ones are dropped

}  // namespace

std::chrono::nanoseconds CompileLimits::Entry::used_at(SteadyTime now) const {
  if (now <= at) return used;
  return used - std::min(used, std::chrono::nanoseconds(now - at) / kCompileShareInverse);
}

std::variant<std::unique_ptr<CompileLimits::Ticket>, std::chrono::nanoseconds> CompileLimits::enter(
    const TenantId& tenant, SteadyTime now) {
  constexpr std::chrono::nanoseconds kSoon = std::chrono::milliseconds(100);
  const MutexLock lock(mutex_);
  if (entries_.size() >= kMaxEntries) {
    std::erase_if(entries_, [now](const auto& named) {
      return named.second.open == 0 && named.second.used_at(now).count() == 0;
    });
  }
  Entry& entry = entries_.try_emplace(tenant, Entry{.at = now}).first->second;
  entry.used = entry.used_at(now);
  entry.at = std::max(entry.at, now);
  if (entry.open >= kMaxCompilesOfTenant || total_ >= kMaxCompiles) return kSoon;
  if (entry.used >= kCompileBurst) {
    return (entry.used - kCompileBurst) * kCompileShareInverse + kSoon;
  }
  ++entry.open;
  ++total_;
  return std::make_unique<Ticket>(*this, tenant);
}

void CompileLimits::leave(const TenantId& tenant, std::chrono::nanoseconds took) {
  const MutexLock lock(mutex_);
  --total_;
  Entry& entry = entries_.at(tenant);
  --entry.open;
  entry.used += took;
}

}  // namespace tessera
