// completion_format.cpp — a text completion: choices with text.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/utf8.hpp"
#include "gateway/inference/answer_format.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

class CompletionFormat final : public ChunkFormat {
 public:
  CompletionFormat(AnswerIdentity identity, const Tokenizer& tokenizer, bool include_usage,
                   bool records)
      : ChunkFormat(std::move(identity), tokenizer, include_usage), records_(records) {}

  ordered_json first_chunk(int) const override { return nullptr; }

  std::vector<ordered_json> piece_chunks(int index, const Piece& piece) const override {
    return {chunk(choice(index, piece, nullptr))};
  }

  ordered_json last_chunk(int index, const std::string& finish_reason) const override {
    return chunk(choice(index, Piece{}, finish_reason));
  }

  std::string whole(const std::vector<FinishedChoice>& choices, const Usage& usage) override {
    ordered_json json = envelope(kTextCompletion);
    json["choices"] = ordered_json::array();
    for (int index = 0; const FinishedChoice& finished : choices) {
      json["choices"].push_back(choice(index++, finished.piece, finished.finish_reason));
    }
    json["usage"] = usage_json(usage);
    return to_text(json);
  }

 private:
  std::string_view chunk_object() const override { return kTextCompletion; }

  ordered_json choice(int index, const Piece& piece, ordered_json finish_reason) const {
    ordered_json json;
    json["text"] = piece.text;
    json["index"] = index;
    json["logprobs"] = logprobs(piece);
    json["finish_reason"] = std::move(finish_reason);
    return json;
  }

  ordered_json logprobs(const Piece& piece) const {
    if (!records_ || piece.empty()) return nullptr;
    ordered_json json;
    for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
      json[name] = ordered_json::array();
    }
    for (const TokenRecord& record : piece.records) {
      json["tokens"].push_back(repair_utf8(tokenizer().token_bytes(record.token.id)));
      json["text_offset"].push_back(record.text_offset);
      if (!record.has_logprob) {
        json["token_logprobs"].push_back(nullptr);
        json["top_logprobs"].push_back(nullptr);
        continue;
      }
      json["token_logprobs"].push_back(record.token.logprob);
      ordered_json top = ordered_json::object();
      for (const TopLogprob& candidate : record.token.top) {
        top[repair_utf8(tokenizer().token_bytes(candidate.id))] = candidate.logprob;
      }
      json["top_logprobs"].push_back(std::move(top));
    }
    return json;
  }

  bool records_;
};

}  // namespace

std::unique_ptr<ChunkFormat> make_completion_format(AnswerIdentity identity,
                                                    const Tokenizer& tokenizer, bool include_usage,
                                                    bool records) {
  return std::make_unique<CompletionFormat>(std::move(identity), tokenizer, include_usage, records);
}

}  // namespace tessera
