// pre_tokenizer.hpp — cuts text into the words that the model's merges never cross.
//
// tokenizer.json describes a sequence of steps; each cuts the pieces of the one before. The
// byte-level step at the end (which other tools do by rewriting every byte as a printable
// character) changes no boundary, so the words stay what they are: views of the text's own bytes.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/regex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class PreTokenizer {
 public:
  // `node` is tokenizer.json's "pre_tokenizer": Split, Digits, Punctuation, ByteLevel or a Sequence
  // of them, the last being ByteLevel. Errors: kUnsupportedModel, param is the path of the field.
  static Result<PreTokenizer> from_json(const nlohmann::ordered_json& node,
                                        const std::string& path);

  // The words of `text`, which is valid UTF-8. They view `text`, or a string added to `rewritten`
  // where a step had to change it; both must outlive them.
  std::vector<std::string_view> split(std::string_view text,
                                      std::deque<std::string>& rewritten) const;

 private:
  // What becomes of the matches of a pattern and of what lies between them.
  enum class Behavior : unsigned char {
    kIsolated,
    kRemoved,
    kContiguous,
    kMergedWithPrevious,
    kMergedWithNext
  };
  struct Split {
    Regex regex;
    Behavior behavior;
    bool invert;  // the matches are what lies between, and the other way round

    void apply(std::string_view text, std::vector<std::string_view>& words) const;
  };
  struct PrefixSpace {};  // a piece that does not begin with a space gets one
  using Step = std::variant<Split, PrefixSpace>;

  Result<void> add(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_sequence(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_split(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_digits(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_punctuation(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_byte_level(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_pattern(std::string_view pattern, Behavior behavior, bool invert,
                           const std::string& path);
  static Result<Behavior> read_behavior(const nlohmann::ordered_json& node,
                                        const std::string& path);

  std::vector<Step> steps_;
  bool byte_level_ = false;  // the ByteLevel step has been read; nothing may follow it
};

}  // namespace tessera
