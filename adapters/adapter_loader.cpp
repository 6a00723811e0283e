#include "adapters/adapter_loader.hpp"

#include "adapters/validator.hpp"

namespace tessera {

Result<std::shared_ptr<const PackedAdapter>> load_packed_adapter(const AdapterRegistry& registry,
                                                                 PackedStore& store,
                                                                 const AdapterDigest& digest) {
  auto packed = store.read(digest);
  if (packed) return packed;
  auto rebuilt = rebuild_packed_adapter(registry, digest, store.format().type);
  if (rebuilt) static_cast<void>(store.write(digest, **rebuilt));
  return rebuilt;
}

Result<std::shared_ptr<const PackedAdapter>> rebuild_packed_adapter(const AdapterRegistry& registry,
                                                                    const AdapterDigest& digest,
                                                                    PageType type) {
  const auto files = registry.load(digest);
  if (!files) return files.error();
  const auto validation = validate_adapter(files->config, files->tensors, registry.base());
  const auto& adapter = validation.adapter;
  if (!adapter || adapter_digest(*adapter, registry.base().digest) != digest) {
    return Error{Code::kCorrupt, "the stored files are not the adapter " + to_hex(digest)};
  }
  return pack_adapter(*adapter, type);
}

}  // namespace tessera
