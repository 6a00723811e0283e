// adapter_store.hpp — adapters on the device: pages anywhere in the pool, pointers in the table.
//
// add() takes memory and returns; the pages follow on a stream of their own, a few megabytes a
// step: from where they are if that is pinned memory, else through a ring of pinned buffers. A step
// that uses an adapter before all of it was sent goes part by part: each layer's pages are sent
// when the layer is about to be launched, and the layer waits for their event on the device, while
// the host is at the next one's. Steps wait for adapters that they use and for no other. Memory
// that was given back is written no sooner than the steps before have ended.
//
// Owned and called by the engine thread alone.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/granule_pool.hpp"
#include "kernels/cuda/lora_kernels.hpp"
#include "kernels/cuda/lora_modules.hpp"
#include "kernels/lora.hpp"

namespace tessera {

class AdapterStore {
 public:
  static std::size_t table_bytes(const ModelSpec& spec, int max_slots);  // on the device

  // The pool outlives the store.
  AdapterStore(const ModelSpec& spec, GranulePool& pool, int max_slots);
  ~AdapterStore();

  // Pages stay where they are until remove(). kNoAdapter if slots or memory do not suffice; the
  // store is then as before. Throws std::invalid_argument for pages in fp32.
  AdapterSlot add(const LoraView& adapter);
  void remove(AdapterSlot slot);

  // Parts of an adapter, in the order in which a step wants them: its rows of the table and what is
  // of the embedding, the layers, the head.
  static int part_of_layer(int layer) { return 1 + layer; }
  int last_part() const { return part_of_layer(spec_.num_layers()); }

  // Whether all of these adapters' pages were sent, though they need not have arrived.
  bool has_sent(std::span<const AdapterSlot> slots) const;
  // Sends what is left of these adapters' parts up to `part` and makes `steps` wait for them.
  void require(std::span<const AdapterSlot> slots, int part, CudaStream& steps);
  // Sends a few megabytes of what is left of any.
  void advance();
  // After a step has been enqueued.
  void note_step(CudaStream& steps);

  // Blocks that the pool takes back from adapters, as GranulePool::take(). `steps` waits for what
  // may still be under way to them.
  void take_blocks(int most, std::vector<BlockId>& blocks, CudaStream& steps);

  LoraTable table() const;

 private:
  struct Piece {
    std::size_t at;  // in the layout; kNoOffset: not in the pool
    std::byte* to;
    const void* from;
    std::size_t bytes;
    int part;
    bool is_pinned;  // copies may read it where it is, until remove()
  };
  static constexpr std::size_t kNoOffset = ~std::size_t{0};
  struct Slot {
    // Where the pieces lie: each run is the layout's bytes from `begin` to the next run's.
    struct Run {
      std::size_t begin;
      std::byte* memory;
    };
    std::byte* address(std::size_t at) const;  // of what lies at an offset of the layout
    template <class T>
    void move(const T*& offset) const;  // becomes an address; null stays null

    std::vector<Run> runs;
    bool is_used = false;
    bool is_pinned = false;                // LoraView::is_pinned
    std::vector<LoraEntry> entries;        // (num_modules,)
    std::vector<LoraPage> pages;           // of all modules, one behind the other
    const LoraPage* page_table = nullptr;  // where they are, too, on the device
    std::array<LoraRows, 2> rows;          // embedding, head
    std::vector<Piece> pieces;
    std::size_t next_piece = 0;
    std::size_t next_byte = 0;  // of that piece
    CudaEvent sent;             // what was sent so far
  };
  struct Chunk {
    PinnedBuffer<std::byte> memory;
    CudaEvent sent;
  };

  // The next piece of `next_part_`, which goes to offset `at`; returns where the one after it goes.
  std::size_t add_piece(const void* from, std::size_t bytes, std::size_t at, Slot& slot) const;
  // Of the store's own memory, which no copy may read later.
  std::size_t add_own_piece(const void* from, std::size_t bytes, std::size_t at, Slot& slot) const;
  std::size_t add_pages(const LoraModule& module, PageType type, LinearShape shape, std::size_t at,
                        Slot& slot) const;
  std::size_t add_module(const LoraModule& module, PageType type, LinearShape shape, std::size_t at,
                         LoraEntry& entry, Slot& slot);
  std::size_t layout_experts(const LoraLayer& layer, PageType type, std::size_t at,
                             std::size_t& module, Slot& slot);
  std::size_t add_rows(const RowOverrides& rows, std::size_t at, LoraRows& entry, Slot& slot);
  std::size_t layout(const LoraView& adapter, Slot& slot);
  // False: there is no room, and nothing was taken.
  bool allocate(Slot& slot, std::size_t bytes);
  bool allocate(Slot& slot, std::size_t bytes, std::size_t most_of_run);
  void release(Slot& slot);
  void place(Slot& slot, std::size_t index);
  static std::optional<std::size_t> gap_between(const Piece& piece, const Piece& next);
  static bool lie_alike(const Piece& piece, const Piece& next);
  static const Piece* next_piece(const Slot& slot, int part);  // to be sent; null: none
  bool send_chunk(Slot& slot, int part);  // false: all up to this part was sent
  // Send the next pieces, at most `most` bytes, and return how many those were.
  std::size_t send_pinned(Slot& slot, int part, std::size_t most);
  std::size_t send_staged(Slot& slot, int part, std::size_t most);

  const ModelSpec& spec_;
  GranulePool& pool_;
  int num_modules_;
  DeviceBuffer<LoraEntry> entries_;    // (max_slots, num_modules)
  DeviceBuffer<LoraRows> embed_rows_;  // (max_slots,)
  DeviceBuffer<LoraRows> head_rows_;
  std::vector<Slot> slots_;
  CudaStream copies_;
  std::array<Chunk, 3> ring_;
  std::size_t next_chunk_ = 0;
  int next_part_ = 0;  // while an adapter is laid out
  CudaEvent arrived_;  // what require() has sent last
  CudaEvent stepped_;
  CudaEvent copied_;  // all that was enqueued when blocks were taken
};

}  // namespace tessera
