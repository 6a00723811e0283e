#include "gateway/http/body_budget.hpp"

#include <cassert>

namespace tessera {

std::size_t BodyBudget::held_bytes() const {
  const MutexLock lock(mutex_);
  return held_;
}

bool BodyBudget::hold(Share& share, std::size_t bytes) {
  assert(bytes >= share.bytes_);
  const std::size_t more = bytes - share.bytes_;
  if (more == 0) return true;

  const MutexLock lock(mutex_);
  const auto found = held_by_tenant_.find(share.tenant_);
  const std::size_t of_tenant = found == held_by_tenant_.end() ? 0 : found->second;
  if (held_ + more > max_bytes_ || of_tenant + more > max_bytes_of_tenant()) return false;
  held_by_tenant_[share.tenant_] = of_tenant + more;
  held_ += more;
  share.bytes_ = bytes;
  return true;
}

void BodyBudget::give_back(Share& share) {
  if (share.bytes_ == 0) return;
  const MutexLock lock(mutex_);
  held_ -= share.bytes_;
  const auto found = held_by_tenant_.find(share.tenant_);
  found->second -= share.bytes_;
  if (found->second == 0) held_by_tenant_.erase(found);
  share.bytes_ = 0;
}

}  // namespace tessera
