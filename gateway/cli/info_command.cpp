// info_command.cpp — `tessera info [FILE]`: what this machine computes with, what a file holds.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "engine/model/packed_model.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "gateway/config.hpp"
#include "gateway/version.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/gpu.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] = R"(Tells what this machine computes with, or what a packed model holds.

Usage: tessera info [FILE] [OPTIONS]

Options:
)";

void print_line(const char* name, const std::string& value) {
  std::printf("%-16s%s\n", name, value.c_str());
}

std::string cpu_line() {
  try {
    const KernelTable& kernels = kernels_of(choose_cpu_path({}));
    return std::string(kernels.name) + " kernels, " +
           std::to_string(std::thread::hardware_concurrency()) + " hardware threads";
  } catch (const std::invalid_argument& unavailable) {
    return unavailable.what();  // TESSERA_CPU asks for what the machine has not
  }
}

std::string gpu_line() {
  const GpuProbe probe = probe_gpus();
  if (probe.gpus.empty()) return "no GPU (" + probe.reason + "): serving by CPU";
  std::string line;
  for (const GpuInfo& gpu : probe.gpus) {
    line += (line.empty() ? "" : "; ") + std::string(gpu.name) + ", " +
            human_bytes(static_cast<double>(gpu.total_bytes));
  }
  return line + " (serves with --gpu; by CPU without)";
}

std::string memory_line() {
  const double pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));
  return human_bytes(pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
}

void print_machine() {
  print_line("tessera", kVersion);
  print_line("cpu", cpu_line());
  print_line("gpu", gpu_line());
  print_line("memory", memory_line());
  const ServerConfig defaults;
  std::printf("\nlimits\n");
  print_line("  head", human_bytes(static_cast<double>(kMaxHeadBytes)));
  print_line("  JSON body", human_bytes(static_cast<double>(kMaxJsonBytes)));
  print_line("  upload", human_bytes(static_cast<double>(kMaxUploadBytes)));
  print_line("  connections", std::to_string(kMaxConnections));
  print_line("  sequences", std::to_string(defaults.max_seqs) + " in a step (--max-seqs)");
  print_line("  KV cache",
             human_bytes(static_cast<double>(defaults.kv_bytes)) + " at most (--kv-bytes)");
}

int print_model(const std::string& path) {
  const auto model = PackedModel::open(path, {.verify = Verify::kContents});
  if (!model) return failure(path + ": " + model.error().message);
  const ModelSpec& spec = (*model)->spec();
  const ModelInfo& info = (*model)->info();
  print_line("model", info.name);
  print_line("file", human_bytes(static_cast<double>((*model)->file_bytes())) +
                         ", every section's checksum is right");
  print_line("base digest", to_hex((*model)->digest()));
  print_line("layers", std::to_string(spec.num_layers()));
  print_line("hidden",
             std::to_string(spec.hidden) + ", intermediate " + std::to_string(spec.intermediate));
  print_line("heads", std::to_string(spec.num_heads) + " of " + std::to_string(spec.head_dim) +
                          ", " + std::to_string(spec.num_kv_heads) + " for keys and values");
  print_line("vocabulary", std::to_string(spec.vocab_size) +
                               (spec.tied_embeddings ? ", head tied to the embedding" : ""));
  print_line("context", std::to_string(spec.max_positions) + " tokens");
  print_line("chat template", info.chat_template.empty() ? "none" : "yes");
  return kExitDone;
}

}  // namespace

int info_command(std::span<const std::string> arguments) {
  bool help = false;
  const std::vector<Option> options = {switch_option("--help", "show this", help)};
  const auto files = parse_options(arguments, options);
  if (!files) return usage_error("info", files.error().message);
  if (help) {
    std::printf("%s%s", kHelp, describe_options(options).c_str());
    return kExitDone;
  }
  if (files->size() > 1) return usage_error("info", "info takes one FILE at most.");
  if (!files->empty()) return print_model(files->front());
  print_machine();
  return kExitDone;
}

}  // namespace tessera
