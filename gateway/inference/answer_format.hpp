// answer_format.hpp — the JSON of answers: chat and text completions, whole and in chunks.
//
// http-api.md 3.2 to 3.4. Each method returns one object; how they are sent is generation.cpp's
// business. Members that clients require are always there, null where there is nothing to say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/tokenizer.hpp"
#include "gateway/inference/choice_text.hpp"

namespace tessera {

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t reasoning_tokens = 0;  // of them

  Usage& operator+=(const Usage& other) {
    prompt_tokens += other.prompt_tokens;
    cached_tokens += other.cached_tokens;
    completion_tokens += other.completion_tokens;
    reasoning_tokens += other.reasoning_tokens;
    return *this;
  }
};

// What every chunk of an answer repeats.
struct AnswerIdentity {
  std::string id;            // "chatcmpl-…", "cmpl-…"
  std::int64_t created = 0;  // Unix seconds
  std::string model;         // the pinned name, such as "support-bot@7"
  std::string system_fingerprint;
};

struct FinishedChoice {
  Piece piece;  // all of it
  std::string finish_reason;
};

// Immutable once made; used on the connection's strand.
class AnswerFormat {
 public:
  AnswerFormat(AnswerIdentity identity, const Tokenizer& tokenizer, bool include_usage)
      : identity_(std::move(identity)), tokenizer_(tokenizer), include_usage_(include_usage) {}
  virtual ~AnswerFormat() = default;

  // Streaming. first_chunk() is null where a choice begins without one.
  virtual nlohmann::ordered_json first_chunk(int index) const = 0;
  // One chunk, or several: a call is announced, with its name, before its arguments come.
  virtual std::vector<nlohmann::ordered_json> piece_chunks(int index, const Piece& piece) const = 0;
  virtual nlohmann::ordered_json last_chunk(int index, const std::string& finish_reason) const = 0;
  // The extra chunk with the usage; null if it was not asked for.
  nlohmann::ordered_json usage_chunk(const Usage& usage) const;

  // Not streaming.
  virtual nlohmann::ordered_json whole(const std::vector<FinishedChoice>& choices,
                                       const Usage& usage) const = 0;

 protected:
  nlohmann::ordered_json envelope(std::string_view object) const;
  virtual std::string_view chunk_object() const = 0;
  // A chunk that carries one choice.
  nlohmann::ordered_json chunk(nlohmann::ordered_json choice) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  AnswerIdentity identity_;
  const Tokenizer& tokenizer_;
  bool include_usage_;
};

// `tokenizer` outlives the format. `records`: the request asked for log-probabilities.
std::unique_ptr<AnswerFormat> make_chat_format(AnswerIdentity identity, const Tokenizer& tokenizer,
                                               bool include_usage, bool records);
std::unique_ptr<AnswerFormat> make_completion_format(AnswerIdentity identity,
                                                     const Tokenizer& tokenizer, bool include_usage,
                                                     bool records);

}  // namespace tessera
