// quantize_command.cpp — `tessera quantize SRC DST`.
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/quantize.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "gateway/cli/progress_bar.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] =
    R"(Packs a model into one file that `tessera serve` maps.

Usage: tessera quantize SRC DST [OPTIONS]

SRC is a Hugging Face directory (config.json, model.safetensors or shards and their index,
tokenizer.json, tokenizer_config.json, generation_config.json), with weights in bf16, f16 or f32, or
quantised by bitsandbytes (4-bit), GPTQ, AWQ, compressed-tensors or to FP8; or a GGUF file. What is
quantised already is taken as it is where the packed file has its form, and the report at the end
tells what was not. An interrupted run continues where it was; DST appears only when it is complete.

Options:
)";

constexpr char kExample[] = R"(
Forms: nf4 (double-quantised, as in QLoRA), nf4-plain (fp32 scales), fp4, int8 (a scale for each
row), bf16.

Examples:
  tessera quantize examples/demo/base demo.tessera --name tessera-demo
  tessera quantize Llama-3.2-1B-Instruct-Q4_K_M.gguf llama.tessera
)";

void print_groups(const QuantizeSummary& summary) {
  if (summary.resumed > 0) {
    std::printf("continued an interrupted run: %d tensors were there\n", summary.resumed);
  }
  for (const QuantizeGroup& group : summary.groups) {
    std::printf("  %5d %-8s  %s %s %s (%.1f M weights)\n", group.matrices,
                group.matrices == 1 ? "matrix" : "matrices", group.from.c_str(),
                group.unchanged ? "taken as it was:" : "to", group.to.c_str(),
                static_cast<double>(group.weights) / 1e6);
  }
}

struct Choices {
  std::string to = "nf4";
  std::string embeddings;
  std::string head;
  QuantizeOptions quantize;
  bool help = false;
};

std::vector<Option> options_of(Choices& choices) {
  const std::vector<std::string> linears = {"nf4", "nf4-plain", "fp4", "int8", "bf16"};
  const std::vector<std::string> tables = {"bf16", "int8", "nf4"};
  return {text_option("--name", "NAME", "the served model name (default: the name of SRC)",
                      choices.quantize.name),
          choice_option("--to", linears,
                        "what linear layers become that are not quantised yet (default: nf4)",
                        choices.to),
          choice_option("--embeddings", tables,
                        "the form of the embeddings (default: as they are, or bf16)",
                        choices.embeddings),
          choice_option("--head", tables, "the form of an untied head (default: as it is, or bf16)",
                        choices.head),
          switch_option("--restart", "begin anew instead of continuing an interrupted run",
                        choices.quantize.restart),
          switch_option("--help", "show this", choices.help)};
}

}  // namespace

int quantize_command(std::span<const std::string> arguments) {
  Choices choices;
  const std::vector<Option> options = options_of(choices);
  const auto files = parse_options(arguments, options);
  if (!files) return usage_error("quantize", files.error().message);
  if (choices.help) {
    std::printf("%s%s%s", kHelp, describe_options(options).c_str(), kExample);
    return kExitDone;
  }
  if (files->size() != 2) return usage_error("quantize", "quantize needs SRC and DST.");
  choices.quantize.linears = *quant_form_named(choices.to);
  choices.quantize.embedding = quant_form_named(choices.embeddings);
  choices.quantize.head = quant_form_named(choices.head);

  ProgressBar bar("quantising");
  const auto start = std::chrono::steady_clock::now();
  const auto summary = quantize_model(
      (*files)[0], (*files)[1], choices.quantize,
      [&](const QuantizeProgress& told) { bar.show(told.bytes_done, told.bytes_total); });
  if (!summary) return failure(summary.error().message);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("%s: %s of weights to %s in %.1f s\n", (*files)[1].c_str(),
              human_bytes(static_cast<double>(summary->source_bytes)).c_str(),
              human_bytes(static_cast<double>(summary->packed_bytes)).c_str(), elapsed.count());
  print_groups(*summary);
  std::printf("base digest %s\n", to_hex(summary->digest).c_str());
  return kExitDone;
}

}  // namespace tessera
