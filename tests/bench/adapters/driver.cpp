// driver.cpp — makes what the suite `adapters` serves: a base of some model's shape, without sense.
//
//     adapters_driver CONFIG.json NAME TOKENIZER.json DONOR.packed OUT
//
// writes a packed model of the shape that CONFIG.json tells, with random weights, this tokenizer
// and all else (the chat template) of another packed model. Prints the base's digest.
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "engine/model/model_config.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/random_model.hpp"
#include "storage/digest.hpp"
#include "storage/durable_file.hpp"

namespace tessera {
namespace {

constexpr std::size_t kMaxConfigBytes = 64 * 1024;
constexpr std::size_t kMaxTokenizerBytes = std::size_t{64} << 20;
constexpr std::uint64_t kSeed = 1;

int failure(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

int make_model(std::span<const std::string> arguments) {
  const auto config = read_file(arguments[0], kMaxConfigBytes);
  if (!config) return failure(config.error());
  const auto spec = parse_model_config(*config);
  if (!spec) return failure(spec.error());
  const auto tokenizer = read_file(arguments[2], kMaxTokenizerBytes);
  if (!tokenizer) return failure(tokenizer.error());
  const auto donor = PackedModel::open(arguments[3]);
  if (!donor) return failure(donor.error());
  ModelInfo info = (*donor)->info();
  info.name = arguments[1];
  info.config = *config;
  info.tokenizer = *tokenizer;
  const auto digest = write_random_model(*spec, kSeed, arguments[4], info);
  if (!digest) return failure(digest.error());
  std::printf("%s\n", to_hex(*digest).c_str());
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 5) {
    std::fprintf(stderr,
                 "usage: adapters_driver CONFIG.json NAME TOKENIZER.json DONOR.packed OUT\n");
    return 2;
  }
  return tessera::make_model(arguments);
}
