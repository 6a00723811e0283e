// adapter_loader.hpp — from a digest to pages: what the host cache does on a miss.
#pragma once

#include <memory>

#include "adapters/packed_adapter.hpp"
#include "adapters/registry.hpp"
#include "storage/result.hpp"

namespace tessera {

// Reads the stored files, validates them again and packs them. The result is what the digest names
// or an error: kNotFound if no version has it, kCorrupt if the stored bytes now mean something
// else. Any thread.
Result<std::shared_ptr<const PackedAdapter>> load_packed_adapter(const AdapterRegistry& registry,
                                                                 const AdapterDigest& digest,
                                                                 PageType type);

}  // namespace tessera
