#include "adapters/adapter_facts.hpp"

#include <algorithm>
#include <set>

namespace tessera {

AdapterFacts facts_of(const Adapter& adapter, const BaseDigest& base, int num_tensors,
                      std::uint64_t packed_bytes) {
  AdapterFacts facts{.digest = adapter_digest(adapter, base),
                     .num_tensors = num_tensors,
                     .packed_bytes = packed_bytes,
                     .is_plain = adapter.is_plain(),
                     .invocation = adapter.invocation};
  std::set<std::string> targets;
  for (const AdapterModule& module : adapter.modules) {
    facts.rank_max = std::max(facts.rank_max, module.rank);
    targets.emplace(module.base.target());
  }
  facts.target_modules.assign(targets.begin(), targets.end());
  return facts;
}

}  // namespace tessera
