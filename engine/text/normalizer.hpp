// normalizer.hpp — the rewriting of text before it is cut into words.
//
// tokenizer.json describes a sequence of steps: Unicode normal forms, lower case, accents, spaces,
// replacements, SentencePiece's table. Each takes the whole text and gives another; what becomes of
// a character does not depend on where a text came from.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/charsmap.hpp"
#include "engine/text/tokenizer_json.hpp"
#include "engine/text/unicode_form.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class Normalizer {
 public:
  // `node` is tokenizer.json's "normalizer": null, a step or a Sequence of them.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<Normalizer> from_json(const nlohmann::ordered_json& node, const std::string& path);

  // Valid UTF-8 to valid UTF-8.
  std::string apply(std::string_view text) const;

  // True if apply() changes nothing.
  bool is_identity() const { return steps_.empty(); }

 private:
  struct Prepend {
    std::string text;
  };
  struct Strip {
    bool left;
    bool right;
  };
  struct Bert {
    bool clean_text;
    bool handle_chinese_chars;
    bool strip_accents;
    bool lowercase;
  };
  struct Lowercase {};
  struct StripAccents {};
  struct Nmt {};
  struct ByteAlphabet {};
  using Step = std::variant<UnicodeForm, Prepend, Replacement, Strip, Bert, Lowercase, StripAccents,
                            Nmt, ByteAlphabet, std::shared_ptr<const Charsmap>>;
  struct Apply;

  // How many times as long `step` can make a text, about.
  static double growth_of(const Step& step);

  Result<void> add(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_sequence(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_prepend(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_replace(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_strip(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_bert(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> add_charsmap(const nlohmann::ordered_json& node, const std::string& path);

  std::vector<Step> steps_;
};

}  // namespace tessera
