#include "gateway/inference/answer_format.hpp"

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/http/sse.hpp"
#include "storage/ids.hpp"
#include "storage/json.hpp"

namespace tessera {

using nlohmann::ordered_json;

ordered_json usage_json(const Usage& usage) {
  ordered_json json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.completion_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  json["prompt_tokens_details"]["cached_tokens"] = usage.cached_tokens;
  json["completion_tokens_details"]["reasoning_tokens"] = usage.reasoning_tokens;
  return json;
}

void write_usage(const Usage& usage, JsonWriter& json) {
  json.begin_object();
  json.member("prompt_tokens", usage.prompt_tokens);
  json.member("completion_tokens", usage.completion_tokens);
  json.member("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  json.key("prompt_tokens_details");
  json.begin_object();
  json.member("cached_tokens", usage.cached_tokens);
  json.end_object();
  json.key("completion_tokens_details");
  json.begin_object();
  json.member("reasoning_tokens", usage.reasoning_tokens);
  json.end_object();
  json.end_object();
}

void obfuscate(ordered_json& event) {
  constexpr std::size_t kUnit = 64;
  constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_abcdefghijklmnopqrstuvwxyz";
  static_assert(kLetters.size() == kUnit);
  event["obfuscation"] = "";
  std::array<unsigned char, kUnit> bytes{};
  random_bytes(bytes.data(), bytes.size());
  std::string padding;
  for (std::size_t i = to_text(event).size() % kUnit; i < kUnit; ++i) {
    padding += kLetters[bytes[i] % kUnit];
  }
  event["obfuscation"] = std::move(padding);
}

ordered_json ChunkFormat::envelope(std::string_view object) const {
  ordered_json json;
  json["id"] = identity_.id;
  json["object"] = object;
  json["created"] = identity_.created;
  json["model"] = identity_.model;
  if (object != kTextCompletion) json["service_tier"] = identity_.service_tier;
  json["system_fingerprint"] = identity_.system_fingerprint;
  return json;
}

void ChunkFormat::write_envelope(std::string_view object, JsonWriter& json) const {
  json.member("id", identity_.id);
  json.member("object", object);
  json.member("created", identity_.created);
  json.member("model", identity_.model);
  if (object != kTextCompletion) json.member("service_tier", identity_.service_tier);
  json.member("system_fingerprint", identity_.system_fingerprint);
}

ordered_json ChunkFormat::chunk(ordered_json choice) const {
  ordered_json json = envelope(chunk_object());
  json["choices"] = ordered_json::array({std::move(choice)});
  if (include_usage_) json["usage"] = nullptr;
  if (identity_.obfuscated) obfuscate(json);
  return json;
}

ordered_json ChunkFormat::usage_chunk(const Usage& usage) const {
  if (!include_usage_) return nullptr;
  ordered_json json = envelope(chunk_object());
  json["choices"] = ordered_json::array();
  json["usage"] = usage_json(usage);
  return json;
}

std::string ChunkFormat::choice_begun(int index) {
  return events({first_chunk(index)});
}

std::string ChunkFormat::piece(int index, const Piece& piece) {
  return events(piece_chunks(index, piece));
}

std::string ChunkFormat::choice_ended(int index, const std::string& finish_reason) {
  return events({last_chunk(index, finish_reason)});
}

std::string ChunkFormat::ended(const Usage& usage) {
  return events({usage_chunk(usage)}) + std::string(kSseDone);
}

// Without [DONE], so that nobody takes it for whole.
std::string ChunkFormat::failed(const Error&, const ordered_json& object) {
  ordered_json event;
  event["error"] = object;
  return events({std::move(event)});
}

std::string ChunkFormat::events(const std::vector<ordered_json>& chunks) {
  std::string out;
  for (const ordered_json& json : chunks) {
    if (!json.is_null()) out += sse_event(to_text(json));
  }
  return out;
}

}  // namespace tessera
