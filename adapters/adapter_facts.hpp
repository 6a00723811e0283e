// adapter_facts.hpp — what is known of a validated adapter without its matrices.
//
// Validation happens in a process apart (adapters/sandbox); what comes back is the packed pages and
// these few facts, which the registry records.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/adapter.hpp"
#include "storage/digest.hpp"

namespace tessera {

struct AdapterFacts {
  AdapterDigest digest = {};
  int rank_max = 0;
  int num_tensors = 0;                           // of the file
  std::vector<std::string> target_modules = {};  // "q_proj", ... in order of their names
  std::uint64_t packed_bytes = 0;                // of its pages
  bool is_plain = true;                          // Adapter::is_plain: it can be mixed
  std::vector<TokenId> invocation = {};          // Adapter::invocation
};

AdapterFacts facts_of(const Adapter& adapter, const BaseDigest& base, int num_tensors,
                      std::uint64_t packed_bytes);

}  // namespace tessera
