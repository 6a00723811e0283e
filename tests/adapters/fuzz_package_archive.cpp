// fuzz_package_archive.cpp — no bytes make the extractor misbehave, write beyond its limits, or
// accept a package without its two files.
#include <cstdlib>
#include <string>

#include "adapters/archive/package_archive.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tessera::ArchiveLimits limits;
  limits.max_tensors_bytes = 1 << 20;
  limits.max_tokenizer_bytes = 1 << 16;
  limits.ratio_floor_bytes = 1 << 16;
  std::size_t config = 0;
  std::size_t tensors = 0;
  const auto count = [](std::size_t& bytes, std::size_t max) {
    return [&bytes, max](std::string_view more) {
      bytes += more.size();
      if (bytes > max) std::abort();
      return true;
    };
  };
  const auto package = tessera::extract_package(std::as_bytes(std::span(data, size)),
                                                count(config, limits.max_config_bytes),
                                                count(tensors, limits.max_tensors_bytes), limits);
  if (!package) return 0;
  const std::size_t kept = config + tensors;
  if (kept > limits.ratio_floor_bytes && kept / limits.max_ratio > size) std::abort();
  if (package->warnings.size() > static_cast<std::size_t>(limits.max_entries)) std::abort();
  return 0;
}
