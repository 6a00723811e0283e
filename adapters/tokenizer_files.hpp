// tokenizer_files.hpp — the tokenizer that an adapter was trained with, held against the base's.
//
// PEFT saves the tokenizer's files beside an adapter. They are not needed to serve it, but they are
// evidence: an adapter of another base of equal shapes fits in every tensor and answers nonsense,
// because its tokens mean something else. What a tokenizer is, this layer does not know; whoever
// does provides the comparison.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "adapters/validator.hpp"

namespace tessera {

struct CarriedFile {
  std::string_view name;  // "tokenizer.json"
  std::string_view content;
};

// What is different in such a file from the base's tokenizer; nothing if it agrees.
using TokenizerCheck = std::function<std::optional<std::string>(const CarriedFile& file)>;

// A file that disagrees is an error (kTokenizerMismatch) at the head of the report, and there is no
// adapter.
void check_tokenizer_files(std::span<const CarriedFile> files, const TokenizerCheck& check,
                           Validation& validation);

}  // namespace tessera
