#include "gateway/inference/prompt_fields.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

bool is_token_ids(const Json& value) {
  return value.is_array() && !value.empty() && std::ranges::all_of(value, [](const Json& item) {
           return item.is_number_unsigned() && item.get<std::uint64_t>() <= kMaxInt;
         });
}

// One prompt, or nullopt if it is not of a form that can be one.
std::optional<Prompt> read_prompt(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (is_token_ids(value)) return value.get<std::vector<TokenId>>();
  return std::nullopt;
}

}  // namespace

Result<std::vector<Prompt>> read_prompts(const Json& value, const std::string& name,
                                         std::size_t max_count) {
  const Error wrong{Code::kInvalidValue,
                    "'" + name +
                        "' must be a string, an array of strings, an array of token ids "
                        "or an array of such arrays.",
                    name};
  if (auto single = read_prompt(value)) return std::vector<Prompt>{*std::move(single)};
  if (!value.is_array() || value.empty()) return wrong;
  if (value.size() > max_count) {
    return Error{Code::kRequestExceedsLimit,
                 "'" + name + "' has more than " + std::to_string(max_count) + " elements.", name};
  }
  std::vector<Prompt> prompts;
  for (const Json& item : value) {
    auto prompt = read_prompt(item);
    if (!prompt) return wrong;
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

Result<std::vector<TokenId>> encode_prompt(const ServedModel& model, const Prompt& prompt,
                                           const std::string& name) {
  std::vector<TokenId> ids;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    ids = model.tokenizer->encode(*text, {.parse_special = true, .add_special = true});
  } else {
    ids = std::get<std::vector<TokenId>>(prompt);
  }
  if (ids.empty()) return Error{Code::kInvalidValue, "The " + name + " is empty.", name};
  const int vocab_size = model.packed->spec().vocab_size;
  if (std::ranges::any_of(ids, [&](TokenId id) { return id < 0 || id >= vocab_size; })) {
    return Error{Code::kInvalidValue,
                 "A token id is not in the vocabulary of " + std::to_string(vocab_size) + ".",
                 name};
  }
  return ids;
}

}  // namespace tessera
