// option_fields.hpp — the fields that all requests for an answer share, read strictly.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generation_request.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/inference/output_fields.hpp"

namespace tessera {

inline constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

// One of `adapters`: [{"model": "support-bot:prod", "weight": 0.7}, ...]
struct RequestedAdapter {
  std::string model;
  double weight = 1.0;
};

// What a request pays, and who of its tenant's requests goes first.
enum class ServiceTier : std::uint8_t { kPriority, kDefault, kFlex };
std::string_view to_string(ServiceTier tier);
std::optional<ServiceTier> service_tier_from_string(std::string_view name);

// What all endpoints that generate share.
struct InferenceOptions {
  std::string model;
  std::vector<RequestedAdapter> adapters;  // to be mixed; then `model` is the base. Or none
  SamplingParams sampling;  // seed and max_tokens are filled in later, from the two below
  std::optional<std::int64_t> seed;
  std::optional<int>
      max_tokens;  // none: as many as the context has room for; 0: text completions only
  std::vector<std::string> stop;
  int num_choices = 1;  // of each prompt, and
  int best_of = 1;      // how many are made for it, of which the most likely are told
  bool echo = false;    // the prompt stands before the answer
  bool stream = false;
  bool include_usage = false;  // one more chunk with the usage
  bool obfuscate = false;      // a stream's chunks are padded, so that their sizes tell nothing
  ServiceTier tier = ServiceTier::kDefault;
  bool names_tier = false;  // else the caller's project may have one
  OutputFormat format;
  // Who is asking, by which the traffic of a split alias is divided; empty if it is not said.
  std::string user;     // `safety_identifier`, or else `user`
  std::string session;  // `prompt_cache_key`
};

// Model, adapters, and who asks.
void read_model(Fields& fields, InferenceOptions& options);

// The same, and sampling, stop, stream, n. `text` is the request's own, for the bytes
// of schemas. Faults go to `fields`.
void read_options(Fields& fields, std::string_view text, InferenceOptions& options);

void read_max_tokens(Fields& fields, std::string_view name, std::int64_t min,
                     std::optional<int>& out);

// "auto" names none.
void read_service_tier(Fields& fields, InferenceOptions& options);

// Up to 16 strings, which are not kept.
void check_metadata(Fields& fields);

}  // namespace tessera
