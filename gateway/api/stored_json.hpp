// stored_json.hpp — records of the store that are JSON, read back.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "storage/clock.hpp"
#include "storage/json.hpp"
#include "storage/result.hpp"

namespace tessera {

// What `read` throws for a value that no such record has.
struct BadStoredValue {};

inline std::int64_t stored_time(WallTime time) {
  return time.time_since_epoch().count();
}
// Throws on a wrong type, as whatever reads a record for read_stored() may.
inline WallTime stored_time_at(const nlohmann::ordered_json& json, const char* name) {
  return WallTime(std::chrono::microseconds(json.at(name).get<std::int64_t>()));
}

// The record that `text` is. Errors: kCorrupt, named by `what` ("a record of a webhook").
template <class Record>
Result<Record> read_stored(std::string_view text, std::string_view what,
                           Record (*read)(const nlohmann::ordered_json&)) {
  const Error corrupt{Code::kCorrupt, std::string(what) + " cannot be read"};
  const auto json = parse_json(text);
  if (!json) return corrupt;
  try {
    return read(*json);
  } catch (const nlohmann::json::exception&) {
    return corrupt;
  } catch (const BadStoredValue&) {
    return corrupt;
  }
}

}  // namespace tessera
