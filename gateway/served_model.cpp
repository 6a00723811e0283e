#include "gateway/served_model.hpp"

#include <array>
#include <cstddef>
#include <utility>

#include <unistd.h>

#include "gateway/cli/progress_bar.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Error explained(const Error& error, const std::string& what) {
  return {error.code, what + ": " + error.message, error.param};
}

// The tokens among these texts that are special, and so would show nothing.
std::vector<TokenId> special_ids(const Tokenizer& tokenizer,
                                 const std::vector<std::string>& texts) {
  std::vector<TokenId> ids;
  for (const std::string& text : texts) {
    const auto id = tokenizer.id_of(text);
    if (id && tokenizer.is_special(*id)) ids.push_back(*id);
  }
  return ids;
}

// The text of a token as tokenizer_config.json has it: a string, or an object with its content.
std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return "";
  const auto content = value.find("content");
  return content != value.end() && content->is_string() ? content->get<std::string>() : "";
}

// The special tokens by name, as transformers gives them to a template; those that there are.
Json special_tokens(const ModelInfo& info) {
  Json tokens = Json::object();
  if (!info.bos_token.empty()) tokens["bos_token"] = info.bos_token;
  if (!info.eos_token.empty()) tokens["eos_token"] = info.eos_token;
  const auto config = parse_json(info.tokenizer_config, {.max_bytes = std::size_t{64} << 20});
  if (!config || !config->is_object()) return tokens;
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const auto found = config->find(name);
    if (found == config->end() || tokens.contains(name)) continue;
    if (std::string text = token_text(*found); !text.empty()) tokens[name] = std::move(text);
  }
  return tokens;
}

// Reads the file before its first use, telling someone who waits at a terminal how far it is.
Result<std::unique_ptr<PackedModel>> open_packed(const ServerConfig& config) {
  ProgressBar bar("reading " + config.model.filename().string());
  OpenOptions options{.verify = config.trust_model ? Verify::kHeader : Verify::kContents,
                      .prefault = true};
  if (isatty(STDERR_FILENO) != 0) {
    options.progress = [&bar](std::size_t done, std::size_t total) { bar.show(done, total); };
  }
  return PackedModel::open(config.model, options);
}

}  // namespace

Result<ChatProfile> make_chat_profile(const ModelInfo& info, const Tokenizer& tokenizer,
                                      std::string_view tool_format) {
  auto chat_template = ChatTemplate::parse(info.chat_template);
  if (!chat_template) {
    return explained(chat_template.error(), "The model's chat template cannot be used");
  }
  const auto has_token = [&](std::string_view text) { return tokenizer.id_of(text).has_value(); };
  ChatProfile profile{.chat_template = *std::move(chat_template)};
  profile.special_tokens = special_tokens(info);
  profile.traits = probe_template(profile.chat_template);
  profile.syntax = answer_syntax_of(info.chat_template, has_token, tool_format_of(tool_format));
  profile.tool_marks = special_ids(tokenizer, profile.syntax.tool_marks());
  profile.think_marks = special_ids(tokenizer, profile.syntax.think_marks());
  return profile;
}

Result<ServedModel> open_served_model(const ServerConfig& config) {
  ServedModel model;
  auto packed = open_packed(config);
  if (!packed) return explained(packed.error(), "The model cannot be opened");
  model.packed = *std::move(packed);
  const ModelInfo& info = model.packed->info();
  if (info.tokenizer.empty()) {
    return Error{
        Code::kUnsupportedModel,
        "The model has no tokenizer, so it cannot be served; quantise it again from a "
        "source that has one (a directory with tokenizer.json, or a GGUF with its vocabulary)."};
  }
  auto tokenizer = Tokenizer::from_json(info.tokenizer);
  if (!tokenizer) return explained(tokenizer.error(), "The model's tokenizer cannot be used");
  model.tokenizer = *std::move(tokenizer);
  if (auto identity = TokenizerIdentity::from_json(info.tokenizer)) {
    model.tokenizer_identity.emplace(*std::move(identity));
  }
  if (info.chat_template.empty()) return model;
  auto profile = make_chat_profile(info, *model.tokenizer, config.tool_format);
  if (!profile) return profile.error();
  model.chat.emplace(*std::move(profile));
  log_info("chat", {{"tools", model.chat->traits.takes_tools},
                    {"tool_format", to_string(model.chat->syntax.tools)},
                    {"reasoning", !model.chat->syntax.think_open.empty()}});
  return model;
}

}  // namespace tessera
