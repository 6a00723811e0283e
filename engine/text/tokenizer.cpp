#include "engine/text/tokenizer.hpp"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/added_tokens.hpp"
#include "engine/text/bpe_model.hpp"
#include "engine/text/byte_alphabet.hpp"
#include "engine/text/normalizer.hpp"
#include "engine/text/post_processor.hpp"
#include "engine/text/pre_tokenizer.hpp"
#include "engine/text/tokenizer_json.hpp"
#include "engine/text/utf8.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonLimits kFileLimits{
    .max_bytes = std::size_t{256} << 20, .max_depth = 32, .max_values = 16'000'000};

// Only the byte-level decoder: the tokens' bytes, joined.
Result<void> check_decoder(const Json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "ByteLevel") return {};
  const Json* parts = find_field(node, "decoders");
  const bool wraps_one = *type == "Sequence" && parts && parts->is_array() && parts->size() == 1;
  if (wraps_one) return check_decoder(parts->front(), item_path(field_path(path, "decoders"), 0));
  return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
}

const Json& member(const Json& file, std::string_view name) {
  static const Json kNull;
  const Json* found = find_field(file, name);
  return found ? *found : kNull;
}

// What is known of a token besides how it is found.
struct Token {
  std::string text;   // as it stands in the file
  std::string bytes;  // what it adds to a text
  bool special = false;
};

// Added tokens replace what the model's vocabulary has under their ids.
std::vector<Token> make_tokens(const BpeModel& model, const AddedTokens& added) {
  std::vector<Token> tokens(model.token_texts().size());
  for (std::size_t id = 0; id < tokens.size(); ++id) tokens[id].text = model.token_texts()[id];
  for (const AddedToken& token : added.tokens()) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id] = {.text = token.content, .bytes = {}, .special = token.special};
  }
  // A text with a character outside the byte alphabet stands for itself.
  for (Token& token : tokens) token.bytes = bytes_from_alphabet(token.text).value_or(token.text);
  return tokens;
}

}  // namespace

struct Tokenizer::Stages {
  void index_tokens();
  void encode_plain(std::string_view text, std::vector<TokenId>& ids) const;

  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  PostProcessor post_processor;
  std::vector<Token> tokens = {};                                 // by id
  std::unordered_map<std::string_view, TokenId> id_by_text = {};  // views `tokens`
};

void Tokenizer::Stages::index_tokens() {
  tokens = make_tokens(model, added);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].text.empty()) id_by_text.emplace(tokens[id].text, static_cast<TokenId>(id));
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const Stages> stages) : stages_(std::move(stages)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view json) {
  auto file = parse_json(json, kFileLimits);
  if (!file) return Error{Code::kInvalidJson, "tokenizer.json: " + file.error().message};
  if (!file->is_object()) return Error{Code::kInvalidJson, "tokenizer.json must be an object"};

  auto normalizer = Normalizer::from_json(member(*file, "normalizer"), "normalizer");
  if (!normalizer) return normalizer.error();
  auto added = AddedTokens::from_json(member(*file, "added_tokens"), "added_tokens", *normalizer);
  if (!added) return added.error();
  auto pre_tokenizer = PreTokenizer::from_json(member(*file, "pre_tokenizer"), "pre_tokenizer");
  if (!pre_tokenizer) return pre_tokenizer.error();
  auto model = BpeModel::from_json(member(*file, "model"), "model");
  if (!model) return model.error();
  auto post = PostProcessor::from_json(member(*file, "post_processor"), "post_processor");
  if (!post) return post.error();
  if (auto checked = check_decoder(member(*file, "decoder"), "decoder"); !checked) {
    return checked.error();
  }
  // Truncation and padding are for batches in training; `transformers` switches them off here too.
  auto known = only_fields(*file, "",
                           {"version", "truncation", "padding", "added_tokens", "normalizer",
                            "pre_tokenizer", "post_processor", "decoder", "model"});
  if (!known) return known.error();

  auto stages = std::make_unique<Stages>(Stages{.normalizer = std::move(*normalizer),
                                                .added = std::move(*added),
                                                .pre_tokenizer = std::move(*pre_tokenizer),
                                                .model = std::move(*model),
                                                .post_processor = std::move(*post)});
  stages->index_tokens();
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(stages)));
}

void Tokenizer::Stages::encode_plain(std::string_view text, std::vector<TokenId>& ids) const {
  std::deque<std::string> rewritten;
  BpeModel::Scratch scratch;
  for (const std::string_view word : pre_tokenizer.split(text, rewritten)) {
    model.encode(word, scratch, ids);
  }
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_utf8(text)) text = repaired = repair_utf8(text);

  const Stages& stages = *stages_;
  std::vector<TokenId> ids;
  if (options.add_special) ids = stages.post_processor.prefix;
  for (const TextPiece& raw : stages.added.cut(text, false, options.parse_special)) {
    if (raw.token) {
      ids.push_back(*raw.token);
      continue;
    }
    const bool rewrite = !stages.normalizer.is_identity();
    const std::string normalized = rewrite ? stages.normalizer.apply(raw.text) : std::string();
    const std::string_view normal = rewrite ? std::string_view(normalized) : raw.text;
    for (const TextPiece& piece : stages.added.cut(normal, true, options.parse_special)) {
      if (piece.token) {
        ids.push_back(*piece.token);
      } else {
        stages.encode_plain(piece.text, ids);
      }
    }
  }
  if (options.add_special) {
    ids.insert(ids.end(), stages.post_processor.suffix.begin(), stages.post_processor.suffix.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  return repair_utf8(bytes);
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  const bool known = id >= 0 && id < vocab_size();
  return known ? stages_->tokens[static_cast<std::size_t>(id)].bytes : std::string_view();
}

bool Tokenizer::is_special(TokenId id) const {
  return id >= 0 && id < vocab_size() && stages_->tokens[static_cast<std::size_t>(id)].special;
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(stages_->tokens.size());
}

std::optional<TokenId> Tokenizer::id_of(std::string_view token_text) const {
  const auto found = stages_->id_by_text.find(token_text);
  if (found == stages_->id_by_text.end()) return std::nullopt;
  return found->second;
}

}  // namespace tessera
