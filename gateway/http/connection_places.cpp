#include "gateway/http/connection_places.hpp"

namespace tessera {

std::unique_ptr<ConnectionPlaces::Place> ConnectionPlaces::enter(const std::string& address) {
  {
    const MutexLock lock(mutex_);
    if (num_all_ >= max_all_) return nullptr;
    if (!address.empty()) {
      int& num_of_address = num_of_[address];
      if (num_of_address >= max_of_address_) return nullptr;
      ++num_of_address;
    }
    ++num_all_;
  }
  return std::make_unique<Place>(shared_from_this(), address);
}

void ConnectionPlaces::leave(const std::string& address) {
  const MutexLock lock(mutex_);
  --num_all_;
  if (address.empty()) return;
  const auto found = num_of_.find(address);
  if (--found->second == 0) num_of_.erase(found);
}

}  // namespace tessera
