// pre_tokenizer.hpp — cuts text into the words that the model's merges never cross.
//
// tokenizer.json describes a sequence of steps; each cuts the pieces of the one before. The
// byte-level step (which other tools do by rewriting every byte as a printable character) changes
// no boundary, so the words stay what they are: views of the text's own bytes. Only steps that
// stand behind it see the printable characters.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/code_point_set.hpp"
#include "engine/text/regex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class PreTokenizer {
 public:
  // `node` is tokenizer.json's "pre_tokenizer": null, a step or a Sequence of them.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<PreTokenizer> from_json(const nlohmann::ordered_json& node,
                                        const std::string& path);

  // The words of `text`, which is valid UTF-8. They view `text`, or a string added to `rewritten`
  // where a step had to change it; both must outlive them. `at_start`: nothing stands before.
  void split(std::string_view text, bool at_start, std::deque<std::string>& rewritten,
             std::vector<std::string_view>& words) const;

  // Whether words are bytes that the model's vocabulary writes in the byte alphabet.
  bool is_byte_level() const { return byte_level_; }

 private:
  // What becomes of the matches of a pattern and of what lies between them.
  enum class Behavior : unsigned char {
    kIsolated,
    kRemoved,
    kContiguous,
    kMergedWithPrevious,
    kMergedWithNext
  };
  struct Span {
    std::size_t begin;
    std::size_t end;
    bool is_match;
  };
  // What is looked for: matches of an expression, a literal, or single code points.
  using Pattern =
      std::variant<std::shared_ptr<const Regex>, std::string, std::shared_ptr<const CodePointSet>>;
  struct Split {
    Pattern pattern;
    Behavior behavior;
    bool invert;       // the matches are what lies between, and the other way round
    bool on_alphabet;  // the words are bytes, and the pattern is about the alphabet's characters

    void apply(std::string_view text, std::vector<std::string_view>& words) const;
    std::vector<Span> spans(std::string_view text) const;
  };
  struct PrefixSpace {};  // a piece that does not begin with a space gets one
  struct Metaspace {      // spaces become another character
    enum class Prefix : unsigned char { kAlways, kNever, kFirst };
    std::string replacement;
    Prefix prefix;  // who gets one that does not begin with it
  };
  using Step = std::variant<Split, PrefixSpace, Metaspace>;

  Result<void> add(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_sequence(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_split(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_digits(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_punctuation(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_whitespace(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_bert(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_delimiter(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_byte_level(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_metaspace(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_regex(std::string_view pattern, Behavior behavior, bool invert,
                         const std::string& path);
  void add_set(const CodePointSet& set, Behavior behavior);
  static Result<Behavior> read_behavior(const nlohmann::ordered_json& node,
                                        const std::string& path);
  static Result<Metaspace::Prefix> read_prefix(const nlohmann::ordered_json& node,
                                               const std::string& path);

  std::vector<Step> steps_;
  bool byte_level_ = false;  // the ByteLevel step has been read
};

}  // namespace tessera
