// decoder.hpp — tokens to text: what tokenizer.json's "decoder" says, while tokens arrive.
//
// A decoder is a chain of steps over a list of tokens. Here each step takes one token at a time and
// passes on what is already certain, so that a stream and a decode of the whole are the same code:
// for any tokens, the pushes and the flush concatenated are the whole text. What a step keeps back:
//
//   ByteLevel      the bytes of an unfinished code point
//   ByteFallback   a run of byte tokens, until it ends: only then is it known whether it is UTF-8
//   BPEDecoder     the last token, whose suffix is dropped at the end and a space elsewhere
//   Strip          (behind Fuse) characters that would be cut off if the text ended here
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/tokenizer_json.hpp"
#include "engine/text/utf8.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class Decoder {
 public:
  // `node` is tokenizer.json's "decoder": null, a step or a Sequence of them.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<Decoder> from_json(const nlohmann::ordered_json& node, const std::string& path);

  // One text in the making. Not thread-safe; the decoder must outlive it.
  class Stream {
   public:
    explicit Stream(const Decoder& decoder) : decoder_(&decoder), states_(decoder.steps_.size()) {}

    // Appends to `out` what the next token, given by its text, makes certain: whole code points.
    void push(std::string_view token, std::string& out) { feed(0, token, out); }

    // Appends what was kept back. Then as new.
    void flush(std::string& out);

   private:
    struct State {  // of one step
      bool after_first = false;
      std::size_t stripped = 0;
      std::string held;
      Utf8Repairer repairer;
    };

    void feed(std::size_t step, std::string_view token, std::string& out);
    void feed_byte_fallback(std::size_t step, std::string_view token, std::string& out);
    void release_bytes(std::size_t step, std::string& out);
    void feed_fused_strip(std::size_t step, std::string_view text, std::string& out);
    void finish(std::size_t step, std::string& out);

    const Decoder* decoder_;
    std::vector<State> states_;
  };

  // The bytes that a token adds in the middle of a text, which need not be whole code points.
  std::string middle_bytes(std::string_view token) const;

 private:
  struct ByteLevel {};
  struct ByteFallback {};
  struct Fuse {};
  struct JoinWithSpaces {};  // what having no decoder means
  struct Strip {
    std::string content;  // one character
    std::size_t start;    // how many of it are cut off at the beginning, at most
    std::size_t stop;     // and at the end
    bool fused;           // of the whole text, not of each token

    std::string_view apply(std::string_view token) const;
  };
  struct Metaspace {
    std::string replacement;
    bool drop_at_start;  // in the first token it is nothing, not a space
  };
  struct WordPiece {
    std::string prefix;
    bool cleanup;

    std::string apply(std::string_view token, bool first) const;
  };
  struct Bpe {
    std::string suffix;
  };
  using Step = std::variant<ByteLevel, ByteFallback, Fuse, JoinWithSpaces, Strip, Metaspace,
                            WordPiece, Bpe, Replacement>;

  Result<void> add(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_sequence(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_strip(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_metaspace(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_word_piece(const nlohmann::ordered_json& node, const std::string& path);

  std::vector<Step> steps_;
  bool fused_ = false;  // a step that joins all tokens has been read
};

}  // namespace tessera
