// fuzz_peft_config.cpp — no config makes the parser or the module matching misbehave.
#include <cstdlib>

#include "adapters/module_plan.hpp"
#include "tests/adapters/test_package.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  tessera::Findings findings;
  const auto config = tessera::parse_peft_config(text, {}, findings);
  if (config.has_value() == tessera::has_errors(findings)) std::abort();
  if (!config) return 0;
  const auto modules = tessera::plan_modules(*config, tessera::test_base().spec, findings);
  if (modules.size() != 16) std::abort();
  return 0;
}
