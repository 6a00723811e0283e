// ids.hpp — names that cannot be mixed up.
//
// An Id<Tag> is the text form that clients see, such as "proj_01HF…": a prefix that says what it
// is and a ULID (48 bits of time, 80 random bits, Crockford base 32), so ids sort by creation.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "storage/clock.hpp"

namespace tessera {

template <class Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}

  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  std::string text_;
};

struct TenantTag {};
struct KeyTag {};
struct RequestTag {};
using TenantId = Id<TenantTag>;    // "proj_…": a tenant is an OpenAI project
using KeyId = Id<KeyTag>;          // the public 12-character part of an API key
using RequestId = Id<RequestTag>;  // "req_…"

// `count` cryptographically random bytes as text over [0-9A-Za-z], from the operating system.
std::string random_base62(int count);
void random_bytes(void* out, std::size_t count);

// A new ULID, 26 characters.
std::string new_ulid(WallTime now);
// The time that a ULID was made at, in whole milliseconds; nullopt if `text` is none.
std::optional<WallTime> ulid_time(std::string_view text);

}  // namespace tessera

template <class Tag>
struct std::hash<tessera::Id<Tag>> {
  std::size_t operator()(const tessera::Id<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
