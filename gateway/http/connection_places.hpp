// connection_places.hpp — how many connections a listener has, in all and from each address.
//
// A connection costs little, but a descriptor each, of which there is an end: who opens ten
// thousand from one address leaves room for everybody else's. Proxies that are trusted speak for
// many and are not counted by address.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe. Places keep it alive: sessions that are left when an io context goes are destroyed
// after their Server.
class ConnectionPlaces : public std::enable_shared_from_this<ConnectionPlaces> {
 public:
  ConnectionPlaces(int max_all, int max_of_address)
      : max_all_(max_all), max_of_address_(max_of_address) {}

  // One connection; free again when it goes.
  class Place {
   public:
    Place(std::shared_ptr<ConnectionPlaces> places, std::string address)
        : places_(std::move(places)), address_(std::move(address)) {}
    ~Place() { places_->leave(address_); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    const std::shared_ptr<ConnectionPlaces> places_;
    const std::string address_;
  };

  // Null if there is none left. An empty address is not counted by address.
  std::unique_ptr<Place> enter(const std::string& address);

 private:
  void leave(const std::string& address);

  const int max_all_;
  const int max_of_address_;
  Mutex mutex_;
  int num_all_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, int> num_of_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
