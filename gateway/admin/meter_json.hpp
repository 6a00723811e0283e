// meter_json.hpp — the limits of a project, key or model by their names on the wire.
//
// In a body, a limit that is absent stays as it is and one that is null goes.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "tenancy/meter.hpp"

namespace tessera {

// All of them, null where there is none.
void add_meter_limits(nlohmann::ordered_json& json, const MeterLimits& limits);

// Overwrites what the body has; ranges are the directory's business.
void read_meter_limits(const nlohmann::ordered_json& body, Fields& fields, MeterLimits& limits);

// One limit of that form.
void read_limit(const nlohmann::ordered_json& body, Fields& fields, std::string_view name,
                std::optional<std::int64_t>& limit);

// The monthly spend limit that a request's body sets, in cents; nullopt: it goes.
Result<std::optional<std::int64_t>> read_spend_limit(std::string_view body);

// A body's `name`: an array of at most `max_count` strings; null or absent leave `texts` alone.
// Unlike Fields::one_or_more it may be empty.
void read_texts(const nlohmann::ordered_json& body, Fields& fields, std::string_view name,
                std::size_t max_count, std::size_t max_chars, std::vector<std::string>& texts);

}  // namespace tessera
