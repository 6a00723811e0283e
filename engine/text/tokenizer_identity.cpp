#include "engine/text/tokenizer_identity.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "storage/digest.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Those of a tokenizer.json: hundreds of thousands of tokens and merges.
constexpr JsonLimits kLimits{
    .max_bytes = std::size_t{256} << 20, .max_depth = 32, .max_values = 16'000'000};

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::vector<std::uint8_t> sha256_of(std::string_view text) {
  const auto hash = sha256(std::as_bytes(std::span(text)));
  return {hash.begin(), hash.end()};
}

// Hashes texts so that no two lists of them are the same bytes.
class Fingerprint {
 public:
  void add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    hash_.update(std::as_bytes(std::span(text)));
  }
  void add(std::int64_t number) { hash_.update(std::as_bytes(std::span(&number, 1))); }
  std::string finish() { return to_hex(std::span<const std::uint8_t>(hash_.finish())); }

 private:
  Sha256 hash_;
};

// {"token": id}, in the order of the ids, or [["token", score], …], in its own.
bool add_vocabulary(const Json& vocab, Fingerprint& print) {
  if (vocab.is_object()) {
    std::vector<std::pair<std::int64_t, std::string_view>> tokens;
    for (const auto& [token, id] : vocab.items()) {
      if (!id.is_number_integer()) return false;
      tokens.emplace_back(id.get<std::int64_t>(), token);
    }
    std::sort(tokens.begin(), tokens.end());
    print.add(static_cast<std::int64_t>(tokens.size()));
    for (const auto& [id, token] : tokens) {
      print.add(id);
      print.add(token);
    }
    return true;
  }
  if (!vocab.is_array()) return false;
  print.add(static_cast<std::int64_t>(vocab.size()));
  for (const Json& entry : vocab) {
    const bool pair =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    if (!pair) return false;
    print.add(entry[0].get_ref<const std::string&>());
    print.add(to_text(entry[1]));
  }
  return true;
}

// "a b" or ["a", "b"].
bool add_merges(const Json& merges, Fingerprint& print) {
  if (!merges.is_array()) return false;
  print.add(static_cast<std::int64_t>(merges.size()));
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      print.add(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      print.add(merge[0].get<std::string>() + ' ' + merge[1].get<std::string>());
    } else {
      return false;
    }
  }
  return true;
}

bool add_added_tokens(const Json& added, Fingerprint& print) {
  if (!added.is_array()) return false;
  std::vector<std::tuple<std::int64_t, std::string, bool>> tokens;
  for (const Json& token : added) {
    const Json* id = member(token, "id");
    const Json* content = member(token, "content");
    const Json* special = member(token, "special");
    if (!id || !id->is_number_integer() || !content || !content->is_string()) return false;
    tokens.emplace_back(id->get<std::int64_t>(), content->get<std::string>(),
                        special && special->is_boolean() && special->get<bool>());
  }
  std::sort(tokens.begin(), tokens.end());
  for (const auto& [id, content, special] : tokens) {
    print.add(id);
    print.add(content);
    print.add(std::int64_t{special});
  }
  return true;
}

// {"<|im_end|>": 7} or {"7": {"content": "<|im_end|>"}}: the first that is not the tokenizer's.
std::optional<std::string> foreign_token(const Json& tokens, const Tokenizer& tokenizer,
                                         bool id_is_key) {
  for (const auto& [key, value] : tokens.items()) {
    std::string text = key;
    std::int64_t id = -1;
    if (id_is_key) {
      const Json* content = member(value, "content");
      text = content && content->is_string() ? content->get<std::string>() : "";
      std::from_chars(key.data(), key.data() + key.size(), id);
    } else if (value.is_number_integer()) {
      id = value.get<std::int64_t>();
    }
    const auto known = tokenizer.id_of(text);
    if (!known || *known != id) return "The base has no token '" + text + "' of that id.";
  }
  return std::nullopt;
}

// "eos_token" and the like, as a text or an object with its content.
std::optional<std::string> foreign_name(const Json& file, const Tokenizer& tokenizer) {
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const Json* value = member(file, name);
    if (!value) continue;
    const Json* content = value->is_object() ? member(*value, "content") : value;
    if (!content || !content->is_string()) continue;
    const std::string& text = content->get_ref<const std::string&>();
    if (!text.empty() && !tokenizer.id_of(text)) {
      return "The base has no token '" + text + "', its " + name + ".";
    }
  }
  return std::nullopt;
}

}  // namespace

Result<TokenizerIdentity> TokenizerIdentity::from_json(std::string_view json) {
  const auto file = parse_json(json, kLimits);
  if (!file) return Error{Code::kInvalidJson, "tokenizer.json: " + file.error().message};
  const Error no_vocabulary{Code::kInvalidValue, "tokenizer.json: no vocabulary"};
  const Json* model = member(*file, "model");
  const Json* vocab = model ? member(*model, "vocab") : nullptr;
  if (!vocab) return no_vocabulary;

  Fingerprint print;
  const Json* type = member(*model, "type");
  print.add(type && type->is_string() ? type->get<std::string>() : "");
  if (!add_vocabulary(*vocab, print)) return no_vocabulary;
  const Json* merges = member(*model, "merges");
  if (merges && !add_merges(*merges, print)) {
    return Error{Code::kInvalidValue, "tokenizer.json: model.merges is not a list of pairs"};
  }
  const Json* added = member(*file, "added_tokens");
  if (added && !add_added_tokens(*added, print)) {
    return Error{Code::kInvalidValue, "tokenizer.json: added_tokens is not a list of tokens"};
  }
  TokenizerIdentity identity;
  identity.digest_ = print.finish();
  identity.file_sha256_ = sha256_of(json);
  return identity;
}

std::optional<std::string> TokenizerIdentity::difference(std::string_view json) const {
  if (sha256_of(json) == file_sha256_) return std::nullopt;
  const auto other = from_json(json);
  if (!other) return other.error().message;
  if (other->digest() == digest_) return std::nullopt;
  return "Its vocabulary, merges or added tokens are not the base's.";
}

std::optional<std::string> tokenizer_file_difference(const TokenizerIdentity& base,
                                                     const Tokenizer& tokenizer,
                                                     std::string_view file_name,
                                                     std::string_view content) {
  if (file_name == "tokenizer.json") return base.difference(content);
  const auto file = parse_json(content, kLimits);
  if (!file) return std::string(file_name) + ": " + file.error().message;
  if (!file->is_object()) return std::string(file_name) + " must be an object";
  if (file_name == "added_tokens.json") return foreign_token(*file, tokenizer, false);
  const Json* decoder = member(*file, "added_tokens_decoder");
  if (decoder && decoder->is_object()) {
    if (auto foreign = foreign_token(*decoder, tokenizer, true)) return foreign;
  }
  return foreign_name(*file, tokenizer);
}

}  // namespace tessera
