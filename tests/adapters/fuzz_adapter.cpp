// fuzz_adapter.cpp — no tensors file makes the validator misbehave: an adapter or a reason, not
// both. The first byte chooses what the config says.
#include <cstdlib>

#include "tests/adapters/tiny_weights.hpp"

namespace tessera {
namespace {

std::vector<std::string> configs() {
  std::vector<std::string> texts;
  const nlohmann::ordered_json variants[] = {
      nlohmann::ordered_json::object(),
      {{"use_dora", true}, {"bias", "all"}},
      {{"lora_bias", true}, {"bias", "lora_only"}},
      {{"trainable_token_indices", {{"embed_tokens", {3, 1}}, {"lm_head", {5}}}}},
      {{"modules_to_save", {"embed_tokens", "lm_head"}}},
      {{"use_bdlora", {{"target_modules_bd_b", {"q_proj", "v_proj"}}, {"nblocks", 2}}}},
      {{"target_modules", {"embed_tokens", "lm_head"}}, {"use_dora", true}}};
  for (const auto& fields : variants) {
    TestPackage package;
    package.config.update(fields);
    texts.push_back(package.config_text());
  }
  return texts;
}

}  // namespace
}  // namespace tessera

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> kConfigs = tessera::configs();
  static tessera::TinyWeights base;
  if (size == 0) return 0;
  const std::string& config = kConfigs[data[0] % kConfigs.size()];
  const auto file = std::as_bytes(std::span(data, size)).subspan(1);
  const auto validation = tessera::validate_adapter(config, file, base.model());
  if (validation.adapter.has_value() != validation.report.ok()) std::abort();
  return 0;
}
