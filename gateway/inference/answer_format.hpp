// answer_format.hpp — the JSON of answers, whole and as a stream's events (http-api.md 3.2 to 3.5).
//
// chat_format.cpp, completion_format.cpp, embedding_format.cpp and response_format.cpp have one
// each. Members that clients require are always there, null where there is nothing to say.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.hpp"
#include "gateway/inference/choice_text.hpp"
#include "storage/json_writer.hpp"
#include "storage/result.hpp"

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
  std::string service_tier = "default";
  bool obfuscated = false;  // chunks are padded
};

struct FinishedChoice {
  Piece piece;  // all of it
  std::string finish_reason;
  std::vector<float> state = {};  // of an embedding
};

// One answer's; used on the connection's strand.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  // A stream: events as they are sent, empty where there is nothing to say. A choice is begun
  // before its first piece and ended after its last; the stream ends once, with all choices ended
  // or in failure, whose error `object` is as error_body.hpp has it.
  virtual std::string choice_begun(int index) = 0;
  virtual std::string piece(int index, const Piece& piece) = 0;
  virtual std::string choice_ended(int index, const std::string& finish_reason) = 0;
  virtual std::string ended(const Usage& usage) = 0;
  virtual std::string failed(const Error& error, const nlohmann::ordered_json& object) = 0;

  // Not streaming: the JSON text of all of it.
  virtual std::string whole(const std::vector<FinishedChoice>& choices, const Usage& usage) = 0;
};

nlohmann::ordered_json usage_json(const Usage& usage);
void write_usage(const Usage& usage, JsonWriter& json);  // the same

// Adds a member of random letters that makes the event's size a multiple of 64: what a chunk says
// cannot be read from how long it is on the wire.
void obfuscate(nlohmann::ordered_json& event);

inline constexpr std::string_view kTextCompletion = "text_completion";

// Answers that come in chunks, which say of themselves what they are: those of chats and text
// completions. Immutable once made.
class ChunkFormat : public AnswerFormat {
 public:
  ChunkFormat(AnswerIdentity identity, const Tokenizer& tokenizer, bool include_usage)
      : identity_(std::move(identity)), tokenizer_(tokenizer), include_usage_(include_usage) {}

  std::string choice_begun(int index) override;
  std::string piece(int index, const Piece& piece) override;
  std::string choice_ended(int index, const std::string& finish_reason) override;
  std::string ended(const Usage& usage) override;
  std::string failed(const Error& error, const nlohmann::ordered_json& object) override;

  // first_chunk() is null where a choice begins without one.
  virtual nlohmann::ordered_json first_chunk(int index) const = 0;
  // One chunk, or several: a call is announced, with its name, before its arguments come.
  virtual std::vector<nlohmann::ordered_json> piece_chunks(int index, const Piece& piece) const = 0;
  virtual nlohmann::ordered_json last_chunk(int index, const std::string& finish_reason) const = 0;
  // The extra chunk with the usage; null if it was not asked for.
  nlohmann::ordered_json usage_chunk(const Usage& usage) const;

 protected:
  nlohmann::ordered_json envelope(std::string_view object) const;
  void write_envelope(std::string_view object, JsonWriter& json) const;  // the same members
  virtual std::string_view chunk_object() const = 0;
  // A chunk that carries one choice.
  nlohmann::ordered_json chunk(nlohmann::ordered_json choice) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  static std::string events(const std::vector<nlohmann::ordered_json>& chunks);

  AnswerIdentity identity_;
  const Tokenizer& tokenizer_;
  bool include_usage_;
};

// `tokenizer` outlives the format. `records`: the request asked for log-probabilities.
std::unique_ptr<ChunkFormat> make_chat_format(AnswerIdentity identity, const Tokenizer& tokenizer,
                                              bool include_usage, bool records);
std::unique_ptr<ChunkFormat> make_completion_format(AnswerIdentity identity,
                                                    const Tokenizer& tokenizer, bool include_usage,
                                                    bool records);

// What an embedding's numbers are told as.
struct EmbeddingForm {
  bool base64 = false;                 // of little-endian float32
  std::optional<int> dimensions = {};  // the first so many, made to be of length one again
};
std::unique_ptr<AnswerFormat> make_embedding_format(std::string model, const EmbeddingForm& form);

// `response` is the object of the Responses API as it stands before the answer: all that the
// request says of it. `records` as above.
std::unique_ptr<AnswerFormat> make_response_format(nlohmann::ordered_json response,
                                                   const Tokenizer& tokenizer, bool records,
                                                   bool obfuscated = false);

}  // namespace tessera
