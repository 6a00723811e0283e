// directory_load.hpp — reads the directory from the store, on several cores.
//
// There may be a million keys, and whoever starts the server waits for them: threads take the keys
// of some first characters each, and see whether they can be decoded (loaded_keys.hpp). Nobody
// changes the store's records meanwhile.
#pragma once

#include "storage/result.hpp"
#include "storage/store.hpp"
#include "tenancy/api_key.hpp"
#include "tenancy/directory_snapshot.hpp"

namespace tessera {

// All tenants, policies, service accounts and keys. Errors: kCorrupt if a record cannot be read, or
// if a key was made with a pepper that is not here; those of Store.
Result<DirectorySnapshot> load_directory(const Store& store, const PepperFile& peppers);

}  // namespace tessera
