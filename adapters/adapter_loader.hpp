// adapter_loader.hpp — from a digest to pages: what the host cache does on a miss.
#pragma once

#include <memory>

#include "adapters/packed_adapter.hpp"
#include "adapters/packed_store.hpp"
#include "adapters/registry.hpp"
#include "storage/result.hpp"

namespace tessera {

// Reads the packed pages or, if there are none that are good, makes and keeps them: reads the
// stored files, validates them again and packs them. The result is what the digest names or an
// error: kNotFound if no version has it, kCorrupt if the stored bytes now mean something else. A
// disk that is full costs later loads their speed, not this one. Any thread.
Result<std::shared_ptr<const PackedAdapter>> load_packed_adapter(const AdapterRegistry& registry,
                                                                 PackedStore& store,
                                                                 const AdapterDigest& digest);

// The same from the stored files alone.
Result<std::shared_ptr<const PackedAdapter>> rebuild_packed_adapter(const AdapterRegistry& registry,
                                                                    const AdapterDigest& digest,
                                                                    PageType type);

}  // namespace tessera
