#include "engine/text/tokenizer.hpp"

#include <algorithm>
#include <deque>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "engine/text/added_tokens.hpp"
#include "engine/text/bpe_model.hpp"
#include "engine/text/normalizer.hpp"
#include "engine/text/post_processor.hpp"
#include "engine/text/pre_tokenizer.hpp"
#include "engine/text/tokenizer_digest.hpp"
#include "engine/text/tokenizer_json.hpp"
#include "engine/text/unigram_model.hpp"
#include "engine/text/utf8.hpp"
#include "engine/text/wordpiece_model.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Model = std::variant<BpeModel, UnigramModel, WordPieceModel>;

constexpr JsonLimits kFileLimits{
    .max_bytes = std::size_t{256} << 20, .max_depth = 32, .max_values = 16'000'000};

const Json& member(const Json& file, std::string_view name) {
  static const Json kNull;
  const Json* found = find_field(file, name);
  return found ? *found : kNull;
}

// `words_are_bytes`: the pre-tokeniser is byte-level.
Result<Model> read_model(const Json& node, const std::string& path, bool words_are_bytes) {
  const auto as_model = [](auto model) -> Result<Model> {
    if (!model) return model.error();
    return Model(std::move(*model));
  };
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "BPE") return as_model(BpeModel::from_json(node, path, words_are_bytes));
  if (*type != "Unigram" && *type != "WordPiece") {
    return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
  }
  if (words_are_bytes) {
    return unsupported_field("pre_tokenizer",
                             "is byte-level, which " + *type + " does not go with");
  }
  if (*type == "Unigram") return as_model(UnigramModel::from_json(node, path));
  return as_model(WordPieceModel::from_json(node, path));
}

const std::vector<std::string>& texts_of(const Model& model) {
  return std::visit(
      [](const auto& m) -> const auto& { return m.token_texts(); }, model);
}

// Hugging Face gives an added token the id that the model has for its text, else the next free one,
// whatever the file says. Where the two differ, one of them is a mistake.
Result<void> check_added_ids(const AddedTokens& added, const Model& model) {
  for (std::size_t i = 0; i < added.tokens().size(); ++i) {
    const AddedToken& token = added.tokens()[i];
    const TokenId known = std::visit([&](const auto& m) { return m.find(token.content); }, model);
    if (known != TokenIndex::kNone && known != token.id) {
      return unsupported_field(field_path(item_path("added_tokens", i), "id"),
                               "is not the one that model.vocab has for the same text");
    }
  }
  return {};
}

// What is known of a token besides how it is found.
struct Token {
  std::string text;   // as it stands in the file
  std::string bytes;  // what it adds to a text
  bool special = false;
};

// Added tokens replace what the model's vocabulary has under their ids. Whether one is special goes
// by its text, as in Hugging Face's library: one that normalisation changes is not.
std::vector<Token> make_tokens(const Model& model, const AddedTokens& added,
                               const Decoder& decoder) {
  const std::vector<std::string>& texts = texts_of(model);
  std::vector<Token> tokens(texts.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) tokens[id].text = texts[id];
  for (const AddedToken& token : added.tokens()) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id].text = token.text;
  }
  std::unordered_set<std::string_view> special;
  for (const AddedToken& token : added.tokens()) {
    if (token.special) special.insert(token.content);
  }
  for (const AddedToken& token : added.tokens()) {
    tokens[static_cast<std::size_t>(token.id)].special = special.contains(token.text);
  }
  for (Token& token : tokens) {
    if (!token.text.empty()) token.bytes = decoder.middle_bytes(token.text);
  }
  return tokens;
}

}  // namespace

struct Tokenizer::Stages {
  void index_tokens();

  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  Model model;
  PostProcessor post_processor;
  Decoder decoder;
  TokenizerDigest digest;
  std::vector<Token> tokens = {};                                 // by id
  std::unordered_map<std::string_view, TokenId> id_by_text = {};  // views `tokens` and `added`
};

void Tokenizer::Stages::index_tokens() {
  tokens = make_tokens(model, added, decoder);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].text.empty()) id_by_text.emplace(tokens[id].text, static_cast<TokenId>(id));
  }
  for (const AddedToken& token : added.tokens()) id_by_text.emplace(token.content, token.id);
}

Tokenizer::Tokenizer(std::unique_ptr<const Stages> stages) : stages_(std::move(stages)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view json) {
  auto file = parse_json(json, kFileLimits);
  if (!file) return Error{Code::kInvalidJson, "tokenizer.json: " + file.error().message};
  return from_tree(*file);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_gguf(const GgufVocabulary& vocabulary) {
  auto file = to_tokenizer_json(vocabulary);
  if (!file) return file.error();
  return from_tree(*file);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_tree(const Json& file) {
  if (!file.is_object()) return Error{Code::kInvalidJson, "tokenizer.json must be an object"};
  auto normalizer = Normalizer::from_json(member(file, "normalizer"), "normalizer");
  if (!normalizer) return normalizer.error();
  auto added = AddedTokens::from_json(member(file, "added_tokens"), "added_tokens", *normalizer);
  if (!added) return added.error();
  auto pre_tokenizer = PreTokenizer::from_json(member(file, "pre_tokenizer"), "pre_tokenizer");
  if (!pre_tokenizer) return pre_tokenizer.error();
  auto model = read_model(member(file, "model"), "model", pre_tokenizer->is_byte_level());
  if (!model) return model.error();
  if (auto checked = check_added_ids(*added, *model); !checked) return checked.error();
  auto post = PostProcessor::from_json(member(file, "post_processor"), "post_processor");
  if (!post) return post.error();
  auto decoder = Decoder::from_json(member(file, "decoder"), "decoder");
  if (!decoder) return decoder.error();
  // Truncation and padding are for batches in training; `transformers` switches them off here too.
  auto known = only_fields(file, "",
                           {"version", "truncation", "padding", "added_tokens", "normalizer",
                            "pre_tokenizer", "post_processor", "decoder", "model"});
  if (!known) return known.error();

  auto stages = std::make_unique<Stages>(Stages{.normalizer = std::move(*normalizer),
                                                .added = std::move(*added),
                                                .pre_tokenizer = std::move(*pre_tokenizer),
                                                .model = std::move(*model),
                                                .post_processor = std::move(*post),
                                                .decoder = std::move(*decoder),
                                                .digest = digest_of_tokenizer(file)});
  stages->index_tokens();
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(stages)));
}

namespace {

// Encodes text that has no added tokens in it.
class WordEncoder {
 public:
  WordEncoder(const PreTokenizer& pre_tokenizer, const Model& model)
      : pre_tokenizer_(pre_tokenizer), model_(model) {}

  void encode(std::string_view text, bool at_start, std::vector<TokenId>& ids) {
    rewritten_.clear();
    pre_tokenizer_.split(text, at_start, rewritten_, words_);
    std::visit([&](const auto& model) { encode_words(model, ids); }, model_);
  }

 private:
  template <class AnyModel>
  void encode_words(const AnyModel& model, std::vector<TokenId>& ids) {
    auto& scratch = std::get<typename AnyModel::Scratch>(scratches_);
    for (const std::string_view word : words_) model.encode(word, scratch, ids);
  }

  const PreTokenizer& pre_tokenizer_;
  const Model& model_;
  std::deque<std::string> rewritten_;
  std::vector<std::string_view> words_;
  std::tuple<BpeModel::Scratch, UnigramModel::Scratch, WordPieceModel::Scratch> scratches_;
};

}  // namespace

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_utf8(text)) text = repaired = repair_utf8(text);

  const Stages& stages = *stages_;
  WordEncoder words(stages.pre_tokenizer, stages.model);
  constexpr std::size_t kUsualTokenBytes = 4;
  std::vector<TokenId> ids;
  ids.reserve(text.size() / kUsualTokenBytes + 1);
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
        const bool at_start = raw.text.data() == text.data() && piece.text.data() == normal.data();
        words.encode(piece.text, at_start, ids);
      }
    }
  }
  if (options.add_special) {
    ids.insert(ids.end(), stages.post_processor.suffix.begin(), stages.post_processor.suffix.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  Decoder::Stream stream(stages_->decoder);
  std::string text;
  for (const TokenId id : ids) {
    const std::string_view token = token_text(id);
    if (!token.empty() && !(skip_special && is_special(id))) stream.push(token, text);
  }
  stream.flush(text);
  return text;
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  const bool known = id >= 0 && id < vocab_size();
  return known ? stages_->tokens[static_cast<std::size_t>(id)].bytes : std::string_view();
}

std::string_view Tokenizer::token_text(TokenId id) const {
  const bool known = id >= 0 && id < vocab_size();
  return known ? stages_->tokens[static_cast<std::size_t>(id)].text : std::string_view();
}

bool Tokenizer::is_special(TokenId id) const {
  return id >= 0 && id < vocab_size() && stages_->tokens[static_cast<std::size_t>(id)].special;
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(stages_->tokens.size());
}

const Decoder& Tokenizer::decoder() const {
  return stages_->decoder;
}

const TokenizerDigest& Tokenizer::digest() const {
  return stages_->digest;
}

std::optional<TokenId> Tokenizer::id_of(std::string_view token_text) const {
  const auto found = stages_->id_by_text.find(token_text);
  if (found == stages_->id_by_text.end()) return std::nullopt;
  return found->second;
}

}  // namespace tessera
