// full_store.hpp — a data directory with as many tenants, keys and adapters as one asks for.
//
// The records are the ones that the server writes, but many to a batch, so that a million keys take
// seconds. Adapters have records and no bytes: they can be listed and resolved, not loaded.
#pragma once

#include <filesystem>

#include "storage/result.hpp"

namespace tessera {

struct FullStore {
  int num_tenants = 0;
  int num_keys = 0;      // of live kind, in turn of each tenant
  int num_adapters = 0;  // with two versions and an alias each, in turn of each tenant
};

// Makes `data`, and writes the keys' texts to `keys_file`, a line each. All limits are out of
// reach. Errors: those of the store and the files.
Result<void> make_full_store(const FullStore& wanted, const std::filesystem::path& data,
                             const std::filesystem::path& keys_file);

}  // namespace tessera
