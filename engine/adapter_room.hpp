// adapter_room.hpp — the memory of adapters' pages, seen by whoever moves memory between it and KV
// blocks (memory_shares.hpp).
//
// On the CPU that is the HostCache's, and one block's memory is as good as another's. On a device
// whose KV blocks and adapters share memory it is that of the blocks which are lent, and what comes
// back are the blocks that hold nothing.
//
// Owned and called by the engine thread alone. Borrows what it is made with.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "adapters/host_cache.hpp"
#include "engine/adapter_slots.hpp"
#include "engine/schedule/running_adapters.hpp"
#include "kernels/backend.hpp"

namespace tessera {

class AdapterRoom {
 public:
  struct Pressure {
    std::size_t evicted_bytes = 0;   // had to go for others since the last look
    std::size_t owed_bytes = 0;      // that somebody waits for
    std::size_t unfilled_bytes = 0;  // now
  };

  virtual ~AdapterRoom() = default;

  virtual std::size_t bytes() const = 0;
  virtual Pressure look() = 0;
  // The room of these blocks is added; of them, some have been written.
  virtual void add(std::span<const BlockId> lent, std::span<const BlockId> written) = 0;
  // Give up to `most` of the `lent` blocks back, appended to `given`: of what is unfilled but for
  // `keep` bytes; or at the cost of adapters that nobody uses, the one worth least first.
  virtual void give_unfilled(std::span<const BlockId> lent, int most, std::size_t keep,
                             std::vector<BlockId>& given) = 0;
  virtual void give_idle(std::span<const BlockId> lent, int most, std::vector<BlockId>& given) = 0;
  // Nobody uses any of so many blocks any more, and which of them have been written is unknown.
  virtual void forget_blocks(int /*num_blocks*/) {}

  // Pages of so many bytes are wanted at a time, those in use among them; 0: what there is will do.
  virtual void want(std::size_t /*bytes*/) {}
  // What adapters in use may come to; nullopt: what the configuration says.
  virtual std::optional<AdapterBytes> usable() const { return std::nullopt; }
};

class HostRoom final : public AdapterRoom {
 public:
  HostRoom(Backend& backend, HostCache& host_cache, std::size_t block_bytes)
      : backend_(backend), host_cache_(host_cache), block_bytes_(block_bytes) {}

  std::size_t bytes() const override { return host_cache_.max_bytes(); }
  Pressure look() override;
  void add(std::span<const BlockId> lent, std::span<const BlockId> written) override;
  void give_unfilled(std::span<const BlockId> lent, int most, std::size_t keep,
                     std::vector<BlockId>& given) override;
  void give_idle(std::span<const BlockId> lent, int most, std::vector<BlockId>& given) override;
  void forget_blocks(int num_blocks) override;

 private:
  Backend& backend_;
  HostCache& host_cache_;
  const std::size_t block_bytes_;
  std::size_t owed_bytes_ = 0;  // that loads found missing and have not got yet
};

class DeviceRoom final : public AdapterRoom {
 public:
  DeviceRoom(Backend& backend, AdapterSlots& slots, std::size_t block_bytes)
      : backend_(backend),
        slots_(slots),
        block_bytes_(block_bytes),
        share_bytes_(backend.adapter_memory().bytes) {}

  std::size_t bytes() const override { return backend_.adapter_memory().bytes; }
  Pressure look() override;
  void add(std::span<const BlockId> lent, std::span<const BlockId> written) override;
  void give_unfilled(std::span<const BlockId> lent, int most, std::size_t keep,
                     std::vector<BlockId>& given) override;
  void give_idle(std::span<const BlockId> lent, int most, std::vector<BlockId>& given) override;
  void want(std::size_t bytes) override { wanted_bytes_ = bytes; }
  std::optional<AdapterBytes> usable() const override;

 private:
  Backend& backend_;
  AdapterSlots& slots_;
  const std::size_t block_bytes_;
  const std::size_t share_bytes_;  // at the start
  std::size_t wanted_bytes_ = 0;
};

}  // namespace tessera
