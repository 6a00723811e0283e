#include "tenancy/recent_requests.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace tessera {
namespace {

// nullopt for an id that the gateway has not made.
std::optional<WallTime> made_at(const RequestId& request) {
  constexpr std::string_view kPrefix = "req_";
  const std::string_view text = request.str();
  if (!text.starts_with(kPrefix)) return std::nullopt;
  return ulid_time(text.substr(kPrefix.size()));
}

}  // namespace

void RecentRequests::begin(WallTime last) {
  forgotten_ = last;
  older_ = {};
  newer_ = {};
}

void RecentRequests::note_recorded(const RequestId& request) {
  const auto made = made_at(request);
  if (!made || *made <= forgotten_) return;
  newer_.ids.insert(request.str());
  newer_.newest = std::max(newer_.newest, *made);
  if (newer_.ids.size() < kRemembered) return;
  forgotten_ = std::max(forgotten_, older_.newest);
  older_ = std::exchange(newer_, {});
}

std::optional<bool> RecentRequests::is_recorded(const RequestId& request) const {
  const auto made = made_at(request);
  if (!made || *made <= forgotten_) return std::nullopt;
  return newer_.ids.contains(request.str()) || older_.ids.contains(request.str());
}

}  // namespace tessera
