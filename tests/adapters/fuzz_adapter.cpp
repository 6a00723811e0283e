// fuzz_adapter.cpp — no tensors file makes the validator misbehave: an adapter or a reason, not
// both.
#include <cstdlib>

#include "tests/adapters/test_package.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string kConfig = tessera::TestPackage().config_text();
  static const tessera::BaseModel kBase = tessera::test_base();
  const auto file = std::as_bytes(std::span(data, size));
  const auto validation = tessera::validate_adapter(kConfig, file, kBase);
  if (validation.adapter.has_value() != validation.report.ok()) std::abort();
  return 0;
}
