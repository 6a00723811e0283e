// vocabulary_json.hpp — what the models' readers share: a vocabulary, and its bounds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/token_index.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::int64_t kVocabMax = std::int64_t{1} << 22;      // ids are below this
inline constexpr std::size_t kVocabBytesMax = std::size_t{12} << 20;  // of all texts together

// Texts by id as they stand in the file, and ids by text.
struct Vocabulary {
  std::vector<std::string> texts;  // empty where an id is unused
  TokenIndex ids;
};

// `node` is an object of texts and ids. Errors: kUnsupportedModel, param is the path of the field.
Result<Vocabulary> read_vocabulary(const nlohmann::ordered_json& node, const std::string& path);

// The id of the byte token "<0x41>", or kNone.
TokenId byte_token(const TokenIndex& ids, std::uint8_t byte);

}  // namespace tessera
