// validator.hpp — from two uploaded files to an Adapter, or to everything that is wrong with them.
//
// Promise P3, no silent no-op: every tensor must bind to a module of the base, every module that
// the config targets must have its pair, every config field that changes the maths is honoured or
// refused. Nothing is dropped silently: what is ignored is told as a warning.
//
// Pure functions of their arguments: no file, no clock, no thread of their own; any thread, and a
// process that may do nothing but compute. Memory: twice the fp32 size of the adapter at most. Time
// goes with the upload's bytes, and of DoRA with the weights of the modules that it targets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "adapters/adapter.hpp"
#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"

namespace tessera {

struct AdapterLimits {
  std::size_t max_config_bytes = std::size_t{256} << 10;
  std::size_t max_header_bytes = std::size_t{8} << 20;  // of the tensors file; see header_limit()
  int max_rank = 256;
  float max_magnitude = 1e4F;  // of any value, scaled

  // A header may be 1 % of its file and 64 KiB, but never more than max_header_bytes.
  std::size_t header_limit(std::size_t file_bytes) const;
};

struct Validation {
  std::optional<Adapter> adapter;  // present exactly if report.ok()
  Report report;
};

// When the pairs are read into fp32: at once, or as they are needed, each time anew, so that not
// all of them are in memory; then the adapter refers to the bytes of `tensors`.
enum class PairReading : std::uint8_t { kNow, kWhenNeeded };

// `config` is adapter_config.json, `tensors` is adapter_model.safetensors.
Validation validate_adapter(std::string_view config, std::span<const std::byte> tensors,
                            const BaseModel& base, const AdapterLimits& limits = {},
                            PairReading reading = PairReading::kNow);

}  // namespace tessera
