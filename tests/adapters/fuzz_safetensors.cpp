// fuzz_safetensors.cpp — no bytes make the safetensors parser misbehave; what it accepts it can
// write.
#include <cstdlib>

#include "adapters/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto parsed = tessera::parse_safetensors(file);
  if (!parsed) return 0;
  const auto written = tessera::write_safetensors(parsed->tensors, parsed->metadata);
  const auto again = tessera::parse_safetensors(written);
  if (!again || again->tensors.size() != parsed->tensors.size()) std::abort();
  return 0;
}
