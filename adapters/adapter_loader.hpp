// adapter_loader.hpp — from a digest to pages: what the host cache does on a miss.
#pragma once

#include <memory>

#include "adapters/packed_adapter.hpp"
#include "adapters/packed_store.hpp"
#include "adapters/registry.hpp"
#include "adapters/sandbox/validation_sandbox.hpp"
#include "storage/result.hpp"

namespace tessera {

// Reads the packed pages or, if there are none that are good, makes and keeps them: the sandbox
// validates the stored files again and packs them. The result is what the digest names or an error:
// kNotFound if no version has it, kCorrupt if the stored bytes now mean something else. A disk that
// is full costs later loads their speed, not this one. Any thread.
Result<std::shared_ptr<const PackedAdapter>> load_packed_adapter(const AdapterRegistry& registry,
                                                                 PackedStore& store,
                                                                 const ValidationSandbox& sandbox,
                                                                 const AdapterDigest& digest);

}  // namespace tessera
