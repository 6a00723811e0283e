#include "adapters/load_queue.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {

void LoadQueue::push(std::string_view tenant, const AdapterDigest& digest) {
  const std::string name(tenant);
  Tenant& entry = tenants_[name];
  if (entry.waiting.empty()) turns_.push_back(name);
  entry.waiting.push_back(digest);
}

std::optional<LoadQueue::Job> LoadQueue::pop(SteadyTime now) {
  const auto turn = std::ranges::find_if(turns_, [&](const std::string& name) {
    const Tenant& tenant = tenants_.at(name);
    return below_cap(tenant) && due(tenant) <= now;
  });
  if (turn == turns_.end()) return std::nullopt;
  const std::string name = *turn;
  turns_.erase(turn);
  Tenant& tenant = tenants_.at(name);
  Job job{.digest = tenant.waiting.front(), .tenant = name};
  tenant.waiting.pop_front();
  ++tenant.num_loading;
  tenant.next_at = std::max(tenant.next_at, now) + period_;
  if (!tenant.waiting.empty()) turns_.push_back(name);
  return job;
}

// Tenants who have used their rate lately are remembered until they load again, which costs some
// hundred bytes each.
void LoadQueue::finish(const std::string& tenant) {
  Tenant& entry = tenants_.at(tenant);
  assert(entry.num_loading > 0);
  --entry.num_loading;
}

std::optional<SteadyTime> LoadQueue::next_due() const {
  std::optional<SteadyTime> next;
  for (const std::string& name : turns_) {
    const Tenant& tenant = tenants_.at(name);
    if (below_cap(tenant) && (!next || due(tenant) < *next)) next = due(tenant);
  }
  return next;
}

}  // namespace tessera
