// loaded_keys.hpp — the keys that the store had when it was opened, as they stand there.
//
// Of a million keys a process meets some; a record of objects for each, in maps of nodes, takes a
// second or two and a gigabyte before anybody has asked for one. Here the records are texts in
// large blocks, with an array of what finds them: by id, and one after the other of a tenant. Each
// was decoded once as it was read, so that damage is told at the start; it is decoded again when
// its key is first shown, and then kept.
//
// Immutable but for what has been decoded; thread-safe. Shared by the snapshots of a directory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tenancy/tenant.hpp"

namespace tessera {

class LoadedKeys : public std::enable_shared_from_this<LoadedKeys> {
 public:
  // Some of the keys; filled by one thread, moved into the whole.
  class Pile {
   public:
    // `record` is what `text` says. Ids of more than 255 bytes are nobody's.
    void add(const ApiKeyRecord& record, std::string_view text);

   private:
    friend class LoadedKeys;

    struct Entry {
      const char* bytes;  // size of the id, id, text
      std::uint32_t text_bytes;
      std::uint32_t hash;  // of the id
    };

    char* room_for(std::size_t bytes);
    std::uint32_t number_of(const TenantId& tenant);

    std::vector<std::unique_ptr<char[]>> blocks_;
    std::size_t left_ = 0;  // of the last block
    std::vector<Entry> entries_;
    std::vector<std::uint32_t> tenants_;  // of each entry
    std::unordered_map<TenantId, std::uint32_t> tenant_numbers_;
  };

  // At most 2^32 - 2 keys, no two with one id.
  explicit LoadedKeys(std::vector<Pile> piles);
  ~LoadedKeys();
  LoadedKeys(const LoadedKeys&) = delete;
  LoadedKeys& operator=(const LoadedKeys&) = delete;

  // Null if there is none. Lives as long as this, which the pointer keeps.
  std::shared_ptr<const ApiKeyRecord> find(const KeyId& id) const;
  // In no order; empty if the tenant has none.
  std::vector<KeyId> ids_of(const TenantId& tenant) const;

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::string_view id_at(std::uint32_t index) const;
  std::string_view text_at(std::uint32_t index) const;
  std::uint32_t index_of(std::string_view id) const;
  void put_in_order(const std::vector<Pile>& piles);
  void index_ids();
  void index_tenants(const std::vector<Pile>& piles);
  const ApiKeyRecord* decoded(std::uint32_t index) const;

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::vector<Pile::Entry> entries_;
  std::vector<std::uint32_t> slots_;      // by hash of the id, the next free one: index, or kNone
  std::vector<std::uint32_t> following_;  // of the same tenant, or kNone
  std::unordered_map<TenantId, std::uint32_t> first_of_tenant_;
  using Decoded = std::atomic<const ApiKeyRecord*>;
  std::unique_ptr<Decoded[]> decoded_;  // null where nobody has asked; owned
};

}  // namespace tessera
