// quantize_command.cpp — `tessera quantize SRC DST`.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <unistd.h>

#include "engine/model/quantize.hpp"
#include "gateway/commands.hpp"
#include "gateway/options.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] =
    R"(Packs a Hugging Face model directory into one file that `tessera serve` maps.

Usage: tessera quantize SRC DST [OPTIONS]

SRC holds config.json, model.safetensors (or shards and their index), tokenizer.json,
tokenizer_config.json and generation_config.json. The linear layers become 4-bit NF4 with double
quantisation, as in QLoRA; DST appears only when it is complete.

Options:
)";

constexpr char kExample[] = R"(
Example:
  tessera quantize examples/demo/base demo.tessera --name tessera-demo
)";

// A bar on a terminal; in a log, nothing.
void show_progress(const QuantizeProgress& progress) {
  constexpr int kWidth = 32;
  const int filled = progress.total > 0 ? progress.done * kWidth / progress.total : 0;
  const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                          std::string(static_cast<std::size_t>(kWidth - filled), '.');
  std::fprintf(stderr, "\r[%s] %d/%d tensors", bar.c_str(), progress.done, progress.total);
  if (progress.done == progress.total) std::fputc('\n', stderr);
}

}  // namespace

int quantize_command(std::span<const std::string> arguments) {
  QuantizeOptions quantize;
  bool help = false;
  const std::vector<Option> options = {
      text_option("--name", "NAME", "the served model name (default: the name of SRC)",
                  quantize.name),
      switch_option("--help", "show this", help)};
  const auto files = parse_options(arguments, options);
  if (!files) return usage_error("quantize", files.error().message);
  if (help) {
    std::printf("%s%s%s", kHelp, describe_options(options).c_str(), kExample);
    return kExitDone;
  }
  if (files->size() != 2) return usage_error("quantize", "quantize needs SRC and DST.");

  std::function<void(const QuantizeProgress&)> progress;
  if (isatty(STDERR_FILENO) != 0) progress = show_progress;
  const auto start = std::chrono::steady_clock::now();
  const auto summary = quantize_model((*files)[0], (*files)[1], quantize, progress);
  if (!summary) return failure(summary.error().message);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("%s: %s of weights to %s in %.1f s\nbase digest %s\n", (*files)[1].c_str(),
              human_bytes(static_cast<double>(summary->source_bytes)).c_str(),
              human_bytes(static_cast<double>(summary->packed_bytes)).c_str(), elapsed.count(),
              to_hex(summary->digest).c_str());
  return kExitDone;
}

}  // namespace tessera
