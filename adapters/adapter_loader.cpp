#include "adapters/adapter_loader.hpp"

namespace tessera {

Result<std::shared_ptr<const PackedAdapter>> load_packed_adapter(const AdapterRegistry& registry,
                                                                 PackedStore& store,
                                                                 const ValidationSandbox& sandbox,
                                                                 const AdapterDigest& digest) {
  auto packed = store.read(digest);
  if (packed) return packed;
  const auto files = registry.load(digest);
  if (!files) return files.error();
  auto repacked = sandbox.repack(*files, digest, store.format());
  if (repacked) static_cast<void>(store.write(digest, **repacked));
  return repacked;
}

}  // namespace tessera
