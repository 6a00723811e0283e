// normalizer.hpp — the rewriting of text before it is cut into words: Unicode normal forms.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class Normalizer {
 public:
  // `node` is tokenizer.json's "normalizer": null, NFC, NFD, NFKC, NFKD, or a Sequence of them.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<Normalizer> from_json(const nlohmann::ordered_json& node, const std::string& path);

  bool is_identity() const { return forms_.empty(); }

  // `text` is valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  enum class Form : unsigned char { kNfc, kNfd, kNfkc, kNfkd };

  Result<void> add(const nlohmann::ordered_json& node, const std::string& path);

  std::vector<Form> forms_;
};

}  // namespace tessera
