// chat_format.cpp — a chat answer: choices with messages, and their deltas.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/utf8.hpp"
#include "gateway/inference/answer_format.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

// {token, logprob, bytes}: an entry of a chat answer's log-probabilities.
ordered_json logprob_entry(const Tokenizer& tokenizer, TokenId id, float logprob) {
  const std::string_view bytes = tokenizer.token_bytes(id);  // a special one's are its name
  ordered_json entry;
  entry["token"] = repair_utf8(bytes);
  entry["logprob"] = logprob;
  entry["bytes"] = ordered_json::array();
  for (const char byte : bytes) entry["bytes"].push_back(static_cast<unsigned char>(byte));
  return entry;
}

// A call of a whole answer; one that broke is not told, its text is in the content.
ordered_json tool_calls_json(const std::vector<ToolCallDelta>& deltas) {
  ordered_json calls = ordered_json::array();
  bool wanted = false;
  for (const ToolCallDelta& delta : deltas) {
    if (delta.begins) {
      wanted = std::ranges::none_of(deltas, [&](const ToolCallDelta& other) {
        return other.index == delta.index && other.broken;
      });
      if (wanted) {
        ordered_json call;
        call["id"] = delta.id;
        call["type"] = "function";
        call["function"]["name"] = delta.name;
        call["function"]["arguments"] = "";
        calls.push_back(std::move(call));
      }
    }
    if (!wanted) continue;
    calls.back()["function"]["arguments"].get_ref<std::string&>() += delta.arguments;
  }
  return calls;
}

class ChatFormat final : public ChunkFormat {
 public:
  ChatFormat(AnswerIdentity identity, const Tokenizer& tokenizer, bool include_usage, bool records)
      : ChunkFormat(std::move(identity), tokenizer, include_usage), records_(records) {}

  ordered_json first_chunk(int index) const override {
    ordered_json delta;
    delta["role"] = "assistant";
    delta["content"] = "";
    return chunk(choice(index, std::move(delta), nullptr, nullptr));
  }

  std::vector<ordered_json> piece_chunks(int index, const Piece& piece) const override {
    std::vector<ordered_json> deltas;
    if (!piece.reasoning.empty()) deltas.push_back({{"reasoning_content", piece.reasoning}});
    if (!piece.text.empty()) deltas.push_back({{"content", piece.text}});
    for (const ToolCallDelta& call : piece.calls) append_call_deltas(call, deltas);
    if (deltas.empty() && !piece.records.empty()) deltas.push_back({{"content", ""}});
    std::vector<ordered_json> chunks;
    for (ordered_json& delta : deltas) {  // log-probabilities come once
      chunks.push_back(chunk(choice(index, std::move(delta),
                                    chunks.empty() ? logprobs(piece) : ordered_json(), nullptr)));
    }
    return chunks;
  }

  ordered_json last_chunk(int index, const std::string& finish_reason) const override {
    return chunk(choice(index, ordered_json::object(), nullptr, finish_reason));
  }

  std::string whole(const std::vector<FinishedChoice>& choices, const Usage& usage) override {
    std::string out;
    out.reserve(kUsualBytes);
    JsonWriter json(out);
    json.begin_object();
    write_envelope("chat.completion", json);
    json.key("choices");
    json.begin_array();
    for (std::int64_t index = 0; const FinishedChoice& finished : choices) {
      json.begin_object();
      json.member("index", index++);
      json.key("message");
      write_message(finished.piece, json);
      json.key("logprobs");
      json.text(records_ ? to_text(logprobs(finished.piece)) : "null");
      json.member("finish_reason", finished.finish_reason);
      json.end_object();
    }
    json.end_array();
    json.key("usage");
    write_usage(usage, json);
    json.end_object();
    return out;
  }

 private:
  std::string_view chunk_object() const override { return "chat.completion.chunk"; }

  static constexpr std::size_t kUsualBytes = 1024;  // of a short answer

  static void write_message(const Piece& piece, JsonWriter& json) {
    const ordered_json calls = tool_calls_json(piece.calls);
    json.begin_object();
    json.member("role", "assistant");
    if (piece.text.empty() && !calls.empty()) {
      json.null_member("content");
    } else {
      json.member("content", piece.text);
    }
    json.null_member("refusal");
    if (!piece.reasoning.empty()) json.member("reasoning_content", piece.reasoning);
    if (!calls.empty()) {
      json.key("tool_calls");
      json.text(to_text(calls));
    }
    json.end_object();
  }

  // Clients concatenate the strings of a call's deltas: id, type and name come once.
  static void append_call_deltas(const ToolCallDelta& call, std::vector<ordered_json>& deltas) {
    const auto add = [&](ordered_json entry) {
      ordered_json delta;
      delta["tool_calls"] = ordered_json::array({std::move(entry)});
      deltas.push_back(std::move(delta));
    };
    if (call.begins) {
      ordered_json entry;
      entry["index"] = call.index;
      entry["id"] = call.id;
      entry["type"] = "function";
      entry["function"]["name"] = call.name;
      entry["function"]["arguments"] = "";
      add(std::move(entry));
    }
    if (call.arguments.empty()) return;
    ordered_json entry;
    entry["index"] = call.index;
    entry["function"]["arguments"] = call.arguments;
    add(std::move(entry));
  }

  static ordered_json choice(int index, ordered_json delta, ordered_json logprobs,
                             ordered_json finish_reason) {
    ordered_json json;
    json["index"] = index;
    json["delta"] = std::move(delta);
    json["logprobs"] = std::move(logprobs);
    json["finish_reason"] = std::move(finish_reason);
    return json;
  }

  ordered_json logprobs(const Piece& piece) const {
    if (!records_) return nullptr;
    ordered_json content = ordered_json::array();
    for (const TokenRecord& record : piece.records) {
      ordered_json entry = logprob_entry(tokenizer(), record.token.id, record.token.logprob);
      entry["top_logprobs"] = ordered_json::array();
      for (const TopLogprob& top : record.token.top) {
        entry["top_logprobs"].push_back(logprob_entry(tokenizer(), top.id, top.logprob));
      }
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }

  bool records_;
};

}  // namespace

std::unique_ptr<ChunkFormat> make_chat_format(AnswerIdentity identity, const Tokenizer& tokenizer,
                                              bool include_usage, bool records) {
  return std::make_unique<ChatFormat>(std::move(identity), tokenizer, include_usage, records);
}

}  // namespace tessera
