#include "engine/text/gguf_vocabulary.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/gguf_pre_tokenizers.hpp"
#include "engine/text/sentencepiece_merges.hpp"
#include "engine/text/tokenizer_json.hpp"
#include "engine/text/vocabulary_json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMarker = "\xE2\x96\x81";  // ▁

enum TokenType : std::int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

Error unsupported_key(std::string_view key, std::string_view what) {
  const std::string name = "tokenizer.ggml." + std::string(key);
  return {Code::kUnsupportedModel, name + ' ' + std::string(what), name};
}

Error corrupt_key(std::string_view key, std::string_view what) {
  const std::string name = "tokenizer.ggml." + std::string(key);
  return {Code::kCorrupt, name + ' ' + std::string(what), name};
}

// Appends to an object without looking for an equal key, which takes time in proportion to its
// size.
void append_member(Json& object, std::string_view name, Json value) {
  object.get_ref<Json::object_t&>().emplace_back(std::string(name), std::move(value));
}

// A Result of JSON has to say which of the two it is: JSON can be made of anything.
Result<Json> found(Json value) {
  return Result<Json>(boost::system::in_place_value, std::move(value));
}

class Converter {
 public:
  explicit Converter(const GgufVocabulary& vocabulary) : in_(vocabulary) {}

  Result<Json> convert() {
    if (auto checked = check_lists(); !checked) return checked.error();
    if (in_.model == "gpt2") return byte_level();
    if (in_.model == "llama") return sentencepiece();
    if (in_.model == "gemma4") return gemma4();
    if (in_.model == "bert") return word_piece();
    if (in_.model == "t5") return unigram();
    return unsupported_key("model", "\"" + in_.model + "\" is not supported");
  }

 private:
  Result<void> check_lists() const;
  Result<Json> byte_level();
  Result<Json> sentencepiece();
  Result<Json> gemma4();
  Result<Json> word_piece();
  Result<Json> unigram();

  TokenType type_of(std::size_t id) const {
    return in_.token_type.empty() ? kNormal : static_cast<TokenType>(in_.token_type[id]);
  }
  std::string text_of(std::optional<std::int64_t> id) const {
    return id ? in_.tokens[static_cast<std::size_t>(*id)] : std::string();
  }

  Json vocabulary_object(const std::vector<std::string>& texts) const;
  Json added_tokens() const;
  Json frame(std::optional<std::int64_t> before, std::optional<std::int64_t> after) const;
  Json bpe(Json vocabulary, Json merges) const;
  Json spaces_decoder(bool strips_prefix) const;
  Result<Json> file(Json normalizer, Json pre_tokenizer, Json post_processor, Json decoder,
                    Json model) const;

  const GgufVocabulary& in_;
};

Result<void> Converter::check_lists() const {
  const std::size_t count = in_.tokens.size();
  if (count == 0) return corrupt_key("tokens", "is missing");
  if (count >= static_cast<std::size_t>(kVocabMax)) return corrupt_key("tokens", "is too long");
  if (!in_.scores.empty() && in_.scores.size() != count) {
    return corrupt_key("scores", "has another length than tokenizer.ggml.tokens");
  }
  if (!in_.token_type.empty() && in_.token_type.size() != count) {
    return corrupt_key("token_type", "has another length than tokenizer.ggml.tokens");
  }
  const std::pair<const char*, std::optional<std::int64_t>> ids[] = {
      {"bos_token_id", in_.bos_token_id},         {"eos_token_id", in_.eos_token_id},
      {"unknown_token_id", in_.unknown_token_id}, {"seperator_token_id", in_.separator_token_id},
      {"padding_token_id", in_.padding_token_id}, {"cls_token_id", in_.cls_token_id}};
  for (const auto& [key, id] : ids) {
    if (id && (*id < 0 || *id >= static_cast<std::int64_t>(count))) {
      return corrupt_key(key, "is not the id of a token");
    }
  }
  return {};
}

// Texts and ids; of equal texts the last one counts.
Json Converter::vocabulary_object(const std::vector<std::string>& texts) const {
  std::unordered_map<std::string_view, std::size_t> last;
  for (std::size_t id = 0; id < texts.size(); ++id) last[texts[id]] = id;
  Json object = Json::object();
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (last[texts[id]] == id) append_member(object, texts[id], id);
  }
  return object;
}

// Control tokens are special, user-defined ones are found in texts too.
Json Converter::added_tokens() const {
  Json tokens = Json::array();
  for (std::size_t id = 0; id < in_.tokens.size(); ++id) {
    const TokenType type = type_of(id);
    const bool special = type == kControl || type == kUnknown;
    if ((!special && type != kUserDefined) || in_.tokens[id].empty()) continue;
    tokens.push_back({{"id", id},
                      {"content", in_.tokens[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", special}});
  }
  return tokens;
}

// A template with one token before and one after the text.
Json Converter::frame(std::optional<std::int64_t> before, std::optional<std::int64_t> after) const {
  if (!before && !after) return nullptr;
  Json single = Json::array();
  Json specials = Json::object();
  const auto add = [&](std::int64_t id) {
    const std::string text = text_of(id);
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    specials[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
  };
  if (before) add(*before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  if (after) {
    add(*after);
    pair.push_back(single.back());
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", specials}};
}

Json Converter::bpe(Json vocabulary, Json merges) const {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

Result<Json> Converter::file(Json normalizer, Json pre_tokenizer, Json post_processor, Json decoder,
                             Json model) const {
  return found({{"version", "1.0"},
                {"truncation", nullptr},
                {"padding", nullptr},
                {"added_tokens", added_tokens()},
                {"normalizer", std::move(normalizer)},
                {"pre_tokenizer", std::move(pre_tokenizer)},
                {"post_processor", std::move(post_processor)},
                {"decoder", std::move(decoder)},
                {"model", std::move(model)}});
}

// "a b" as ["a", "b"]; a half may itself begin with a space.
Result<Json> read_merges(const std::vector<std::string>& merges) {
  Json pairs = Json::array();
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string::npos) return corrupt_key("merges", "has one that is no pair");
    pairs.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  return found(std::move(pairs));
}

Result<Json> Converter::byte_level() {
  GgufPreTokenizer rules;
  if (!find_gguf_pre_tokenizer(in_.pre, rules)) {
    return unsupported_key("pre", "\"" + in_.pre + "\" is not one that is known here");
  }
  auto merges = read_merges(in_.merges);
  if (!merges) return merges.error();
  Json model = bpe(vocabulary_object(in_.tokens), std::move(*merges));
  model["ignore_merges"] = rules.ignore_merges;
  const bool bos = in_.add_bos_token.value_or(rules.add_bos);
  const bool eos = in_.add_eos_token.value_or(false);
  return file(rules.normalizer, rules.pre_tokenizer,
              frame(bos ? in_.bos_token_id : std::nullopt, eos ? in_.eos_token_id : std::nullopt),
              {{"type", "ByteLevel"},
               {"add_prefix_space", true},
               {"trim_offsets", true},
               {"use_regex", true}},
              std::move(model));
}

Json replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json Converter::spaces_decoder(bool strips_prefix) const {
  Json steps = {replace(kMarker, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (strips_prefix) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(steps)}};
}

Result<Json> Converter::sentencepiece() {
  if (in_.scores.empty()) return unsupported_key("scores", "is missing");
  std::vector<SentencePiece> pieces;
  bool has_bytes = false;
  std::vector<std::string> texts = in_.tokens;
  for (std::size_t id = 0; id < texts.size(); ++id) {
    const TokenType type = type_of(id);
    has_bytes = has_bytes || type == kByte;
    const bool joins = type == kNormal || type == kUnused;
    pieces.push_back({texts[id], in_.scores[id], joins});
  }
  Json model = bpe(vocabulary_object(texts), sentencepiece_merges(pieces));
  const std::int64_t unknown = in_.unknown_token_id.value_or(0);
  model["unk_token"] = text_of(unknown);
  model["fuse_unk"] = true;
  model["byte_fallback"] = has_bytes;

  const bool prefix = in_.add_space_prefix.value_or(true);
  Json steps = Json::array();
  if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kMarker}});
  steps.push_back(replace(" ", kMarker));
  const bool bos = in_.add_bos_token.value_or(true);
  const bool eos = in_.add_eos_token.value_or(false);
  return file({{"type", "Sequence"}, {"normalizers", std::move(steps)}}, nullptr,
              frame(bos ? in_.bos_token_id : std::nullopt, eos ? in_.eos_token_id : std::nullopt),
              spaces_decoder(prefix), std::move(model));
}

// Gemma 4 states its merges.
Result<Json> Converter::gemma4() {
  auto merges = read_merges(in_.merges);
  if (!merges) return merges.error();
  Json model = bpe(vocabulary_object(in_.tokens), std::move(*merges));
  if (in_.unknown_token_id) model["unk_token"] = text_of(in_.unknown_token_id);
  model["fuse_unk"] = true;
  model["byte_fallback"] = true;
  const bool bos = in_.add_bos_token.value_or(true);
  return file(replace(" ", kMarker), nullptr,
              frame(bos ? in_.bos_token_id : std::nullopt, std::nullopt), spaces_decoder(false),
              std::move(model));
}

// Tokens that begin a word are marked here; in tokenizer.json those that continue one are.
Result<Json> Converter::word_piece() {
  if (!in_.unknown_token_id) return unsupported_key("unknown_token_id", "is missing");
  std::vector<std::string> texts;
  for (std::size_t id = 0; id < in_.tokens.size(); ++id) {
    const std::string& text = in_.tokens[id];
    if (text.starts_with(kMarker)) {
      texts.push_back(text.substr(kMarker.size()));
    } else {
      texts.push_back(type_of(id) == kNormal ? "##" + text : text);
    }
  }
  const Json model = {{"type", "WordPiece"},
                      {"unk_token", text_of(in_.unknown_token_id)},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 100},
                      {"vocab", vocabulary_object(texts)}};
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", true},
                           {"strip_accents", nullptr},
                           {"lowercase", true}};
  const bool bos = in_.add_bos_token.value_or(true);
  const bool sep = in_.add_sep_token.value_or(true);
  const auto first = in_.cls_token_id ? in_.cls_token_id : in_.bos_token_id;
  const auto last = in_.separator_token_id ? in_.separator_token_id : in_.eos_token_id;
  return file(normalizer, {{"type", "BertPreTokenizer"}},
              frame(bos ? first : std::nullopt, sep ? last : std::nullopt),
              {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, model);
}

Result<Json> Converter::unigram() {
  if (in_.scores.empty()) return unsupported_key("scores", "is missing");
  if (!in_.unknown_token_id) return unsupported_key("unknown_token_id", "is missing");
  Json vocabulary = Json::array();
  for (std::size_t id = 0; id < in_.tokens.size(); ++id) {
    vocabulary.push_back(Json::array({in_.tokens[id], static_cast<double>(in_.scores[id])}));
  }
  const Json model = {{"type", "Unigram"},
                      {"unk_id", *in_.unknown_token_id},
                      {"vocab", std::move(vocabulary)},
                      {"byte_fallback", false}};
  Json steps = Json::array();
  if (!in_.precompiled_charsmap.empty()) {
    const std::string blob(in_.precompiled_charsmap.begin(), in_.precompiled_charsmap.end());
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(blob)}});
  }
  if (in_.remove_extra_whitespaces.value_or(false)) {
    steps.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", kMarker}});
  }
  const Json metaspace = {
      {"type", "Metaspace"},
      {"replacement", kMarker},
      {"prepend_scheme", in_.add_space_prefix.value_or(true) ? "always" : "never"},
      {"split", true}};
  const bool bos = in_.add_bos_token.value_or(false);
  const bool eos = in_.add_eos_token.value_or(true);
  return file({{"type", "Sequence"}, {"normalizers", std::move(steps)}}, metaspace,
              frame(bos ? in_.bos_token_id : std::nullopt, eos ? in_.eos_token_id : std::nullopt),
              metaspace, model);
}

}  // namespace

Result<Json> to_tokenizer_json(const GgufVocabulary& vocabulary) {
  return Converter(vocabulary).convert();
}

}  // namespace tessera
