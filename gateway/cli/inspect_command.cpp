// inspect_command.cpp — `tessera inspect FILE|DIR`: what a model holds, before it is served.
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/model/inspect.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kHelp[] =
    R"(Tells what a packed model, a GGUF file or a Hugging Face directory holds.

Usage: tessera inspect FILE|DIR [OPTIONS]

Reads everything but the weights; `tessera info FILE` also checks a packed model's checksums.

Options:
)";

void print_line(const char* name, const std::string& value) {
  std::printf("%-16s%s\n", name, value.c_str());
}

std::string layers_text(const ModelSpec& spec) {
  std::string text = std::to_string(spec.num_layers()) + " of " + std::to_string(spec.hidden) +
                     ", " + std::to_string(spec.num_heads) + " heads of " +
                     std::to_string(spec.head_dim) + ", " + std::to_string(spec.num_kv_heads) +
                     " for keys and values";
  if (spec.num_experts > 0) {
    text += ", " + std::to_string(spec.experts_per_token) + " of " +
            std::to_string(spec.num_experts) + " experts";
  }
  return text;
}

void print_inspection(const Inspection& inspection) {
  const ModelInfo& info = inspection.info;
  print_line("kind", inspection.kind);
  if (!info.name.empty()) print_line("name", info.name);
  print_line("architecture", info.architecture);
  if (!info.source_format.empty()) print_line("format", info.source_format);
  if (!info.quantization.empty()) print_line("quantisation", info.quantization);
  print_line("context", std::to_string(inspection.spec.max_positions) + " tokens");
  print_line("layers", layers_text(inspection.spec));
  print_line("vocabulary", std::to_string(inspection.spec.vocab_size) +
                               (inspection.spec.tied_embeddings ? ", head tied" : ""));
  const std::string tokenizer = tokenizer_digest(info);
  print_line("tokenizer", tokenizer.empty() ? "none" : "sha256 " + tokenizer);
  print_line("chat template", info.chat_template.empty() ? "none" : "yes");
  if (!inspection.digest.empty()) print_line("base digest", inspection.digest);
  std::printf("\n%8s  %12s  %10s  %s\n", "tensors", "M weights", "size", "form");
  for (const FormCount& form : inspection.forms) {
    std::printf("%8d  %12.1f  %10s  %s\n", form.tensors, static_cast<double>(form.weights) / 1e6,
                human_bytes(static_cast<double>(form.bytes)).c_str(), form.form.c_str());
  }
}

void print_json(const Inspection& inspection) {
  const ModelInfo& info = inspection.info;
  Json forms = Json::array();
  for (const FormCount& form : inspection.forms) {
    forms.push_back({{"form", form.form},
                     {"tensors", form.tensors},
                     {"weights", form.weights},
                     {"bytes", form.bytes}});
  }
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json() : Json(text);
  };
  const Json node = {{"kind", inspection.kind},
                     {"name", text_or_null(info.name)},
                     {"architecture", info.architecture},
                     {"format", text_or_null(info.source_format)},
                     {"quantization", text_or_null(info.quantization)},
                     {"context_length", inspection.spec.max_positions},
                     {"num_layers", inspection.spec.num_layers()},
                     {"hidden_size", inspection.spec.hidden},
                     {"vocab_size", inspection.spec.vocab_size},
                     {"tokenizer_sha256", text_or_null(tokenizer_digest(info))},
                     {"has_chat_template", !info.chat_template.empty()},
                     {"base_digest", text_or_null(inspection.digest)},
                     {"bytes", inspection.bytes},
                     {"forms", std::move(forms)}};
  std::printf("%s\n", to_text(node).c_str());
}

}  // namespace

int inspect_command(std::span<const std::string> arguments) {
  bool help = false;
  bool json = false;
  const std::vector<Option> options = {switch_option("--json", "one JSON object, on a line", json),
                                       switch_option("--help", "show this", help)};
  const auto files = parse_options(arguments, options);
  if (!files) return usage_error("inspect", files.error().message);
  if (help) {
    std::printf("%s%s", kHelp, describe_options(options).c_str());
    return kExitDone;
  }
  if (files->size() != 1) return usage_error("inspect", "inspect needs one FILE or DIR.");
  const auto inspection = inspect_model(files->front());
  if (!inspection) return failure(inspection.error().message);
  if (json) {
    print_json(*inspection);
  } else {
    print_inspection(*inspection);
  }
  return kExitDone;
}

}  // namespace tessera
