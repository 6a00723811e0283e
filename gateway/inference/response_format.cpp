// response_format.cpp — an answer of the Responses API: items, and typed events as they grow.
//
// A stream and a whole answer are made by the same steps, so that one is the sum of the other.
// Items follow each other: reasoning, a message, calls; one is open at a time.
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/utf8.hpp"
#include "gateway/inference/answer_format.hpp"
#include "storage/ids.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json usage_object(const Usage& usage) {
  ordered_json json;
  json["input_tokens"] = usage.prompt_tokens;
  json["input_tokens_details"]["cached_tokens"] = usage.cached_tokens;
  json["output_tokens"] = usage.completion_tokens;
  json["output_tokens_details"]["reasoning_tokens"] = usage.reasoning_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  return json;
}

ordered_json logprob_json(const Tokenizer& tokenizer, TokenId id, float logprob) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  ordered_json entry;
  entry["token"] = repair_utf8(bytes);
  entry["logprob"] = logprob;
  entry["bytes"] = ordered_json::array();
  for (const char byte : bytes) entry["bytes"].push_back(static_cast<unsigned char>(byte));
  return entry;
}

enum class ItemKind : std::uint8_t { kReasoning, kMessage, kCall };

class ResponseFormat final : public AnswerFormat {
 public:
  ResponseFormat(ordered_json response, const Tokenizer& tokenizer, bool records, bool obfuscated)
      : response_(std::move(response)),
        tokenizer_(tokenizer),
        records_(records),
        obfuscated_(obfuscated) {
    id_tail_ = response_.value("id", std::string("resp_"));
    id_tail_ = id_tail_.substr(id_tail_.find('_') + 1);
    response_["status"] = "in_progress";
    response_["output"] = ordered_json::array();
    response_["usage"] = nullptr;
  }

  std::string choice_begun(int) override {
    std::string out = event("response.created", {{"response", response_}});
    out += event("response.in_progress", {{"response", response_}});
    return out;
  }

  std::string piece(int, const Piece& piece) override {
    std::string out;
    if (!piece.reasoning.empty()) add_text(ItemKind::kReasoning, piece.reasoning, {}, out);
    if (!piece.text.empty() || (records_ && !piece.records.empty() && piece.calls.empty())) {
      add_text(ItemKind::kMessage, piece.text, piece.records, out);
    }
    for (const ToolCallDelta& call : piece.calls) add_call(call, out);
    return out;
  }

  std::string choice_ended(int, const std::string& finish_reason) override {
    std::string out;
    const bool cut = finish_reason == "length";
    if (response_["output"].empty() && !open_) open(ItemKind::kMessage, out);
    close(cut ? "incomplete" : "completed", out);
    response_["status"] = cut ? "incomplete" : "completed";
    if (cut) response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    return out;
  }

  std::string ended(const Usage& usage) override {
    response_["usage"] = usage_object(usage);
    const std::string status = response_["status"];
    return event("response." + status, {{"response", response_}});
  }

  // A broken stream says so in its last event.
  std::string failed(const Error&, const ordered_json& object) override {
    std::string out;
    close("incomplete", out);
    response_["status"] = "failed";
    response_["error"] = {{"code", object.at("code")}, {"message", object.at("message")}};
    return out + event("response.failed", {{"response", response_}});
  }

  std::string whole(const std::vector<FinishedChoice>& choices, const Usage& usage) override {
    const FinishedChoice& choice = choices.front();
    piece(0, choice.piece);
    choice_ended(0, choice.finish_reason);
    ended(usage);
    return to_text(response_);
  }

 private:
  struct OpenItem {
    ItemKind kind;
    int call = 0;  // index of the call
    ordered_json json;
    ordered_json logprobs = ordered_json::array();
    std::string text = {};  // or a call's arguments
    bool broken = false;
  };

  // The event's own members follow its type and number.
  std::string event(const std::string& type, const ordered_json& members) {
    ordered_json json;
    json["type"] = type;
    json["sequence_number"] = num_events_++;
    for (const auto& [name, value] : members.items()) json[name] = value;
    if (obfuscated_ && type.ends_with(".delta")) obfuscate(json);
    return "event: " + type + "\ndata: " + to_text(json) + "\n\n";
  }

  ordered_json place() const {
    ordered_json json;
    json["item_id"] = open_->json["id"];
    json["output_index"] = response_["output"].size();
    return json;
  }
  ordered_json part_place() const {
    ordered_json json = place();
    json["content_index"] = 0;
    return json;
  }

  ordered_json part() const {
    if (open_->kind == ItemKind::kReasoning) {
      return {{"type", "reasoning_text"}, {"text", open_->text}};
    }
    ordered_json json;
    json["type"] = "output_text";
    json["text"] = open_->text;
    json["annotations"] = ordered_json::array();
    json["logprobs"] = open_->logprobs;
    return json;
  }

  void open(ItemKind kind, std::string& out) {
    const std::string number = std::to_string(response_["output"].size());
    ordered_json json;
    if (kind == ItemKind::kMessage) {
      json["id"] = "msg_" + id_tail_ + number;
      json["type"] = "message";
      json["status"] = "in_progress";
      json["role"] = "assistant";
      json["content"] = ordered_json::array();
    } else {
      json["id"] = "rs_" + id_tail_ + number;
      json["type"] = "reasoning";
      json["status"] = "in_progress";
      json["summary"] = ordered_json::array();
      json["content"] = ordered_json::array();
    }
    open_.emplace(OpenItem{.kind = kind, .json = std::move(json)});
    announce(out);
    ordered_json members = part_place();
    members["part"] = part();
    out += event("response.content_part.added", members);
  }

  void announce(std::string& out) {
    ordered_json members;
    members["output_index"] = response_["output"].size();
    members["item"] = open_->json;
    out += event("response.output_item.added", members);
  }

  void add_text(ItemKind kind, const std::string& text, const std::vector<TokenRecord>& records,
                std::string& out) {
    if (open_ && open_->kind != kind) close("completed", out);
    if (!open_) open(kind, out);
    ordered_json told = ordered_json::array();
    if (records_) {
      for (const TokenRecord& record : records) told.push_back(record_json(record));
    }
    open_->text += text;
    for (const ordered_json& entry : told) open_->logprobs.push_back(entry);
    ordered_json members = part_place();
    members["delta"] = text;
    if (kind == ItemKind::kMessage) members["logprobs"] = std::move(told);
    out += event("response." + text_name() + ".delta", members);
  }

  ordered_json record_json(const TokenRecord& record) const {
    ordered_json entry = logprob_json(tokenizer_, record.token.id, record.token.logprob);
    entry["top_logprobs"] = ordered_json::array();
    for (const TopLogprob& top : record.token.top) {
      entry["top_logprobs"].push_back(logprob_json(tokenizer_, top.id, top.logprob));
    }
    return entry;
  }

  std::string text_name() const {
    return open_->kind == ItemKind::kReasoning ? "reasoning_text" : "output_text";
  }

  void add_call(const ToolCallDelta& call, std::string& out) {
    if (call.begins) {
      close("completed", out);
      ordered_json json;
      json["id"] = "fc_" + id_tail_ + std::to_string(response_["output"].size());
      json["type"] = "function_call";
      json["status"] = "in_progress";
      json["call_id"] = call.id;
      json["name"] = call.name;
      json["arguments"] = "";
      open_.emplace(OpenItem{.kind = ItemKind::kCall, .call = call.index, .json = std::move(json)});
      announce(out);
    }
    if (!open_ || open_->kind != ItemKind::kCall || open_->call != call.index) return;
    open_->broken |= call.broken;
    if (call.arguments.empty()) return;
    open_->text += call.arguments;
    ordered_json members = place();
    members["delta"] = call.arguments;
    out += event("response.function_call_arguments.delta", members);
  }

  void close(const std::string& status, std::string& out) {
    if (!open_) return;
    const bool is_call = open_->kind == ItemKind::kCall;
    if (is_call) {
      end_call(out);
    } else {
      end_part(out);
    }
    open_->json["status"] = is_call && open_->broken ? "incomplete" : status;
    ordered_json members;
    members["output_index"] = response_["output"].size();
    members["item"] = open_->json;
    out += event("response.output_item.done", members);
    response_["output"].push_back(std::move(open_->json));
    open_.reset();
  }

  void end_call(std::string& out) {
    ordered_json members = place();
    members["name"] = open_->json["name"];
    members["arguments"] = open_->text;
    out += event("response.function_call_arguments.done", members);
    open_->json["arguments"] = open_->text;
  }

  void end_part(std::string& out) {
    ordered_json members = part_place();
    members["text"] = open_->text;
    if (open_->kind == ItemKind::kMessage) members["logprobs"] = open_->logprobs;
    out += event("response." + text_name() + ".done", members);
    members = part_place();
    members["part"] = part();
    out += event("response.content_part.done", members);
    open_->json["content"].push_back(part());
  }

  ordered_json response_;
  const Tokenizer& tokenizer_;
  bool records_;
  bool obfuscated_;
  std::string id_tail_;
  int num_events_ = 0;
  std::optional<OpenItem> open_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_response_format(ordered_json response,
                                                   const Tokenizer& tokenizer, bool records,
                                                   bool obfuscated) {
  return std::make_unique<ResponseFormat>(std::move(response), tokenizer, records, obfuscated);
}

}  // namespace tessera
