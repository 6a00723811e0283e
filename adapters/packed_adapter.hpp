// packed_adapter.hpp — an adapter in the pages that kernels read (kernels/lora.hpp).
//
// Packing transposes A, folds the scale into B in fp32, converts once (round to nearest even) and
// lays all parts (packed_layout.hpp) into one mapping (huge pages, where there are some).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "adapters/adapter.hpp"
#include "adapters/packed_layout.hpp"
#include "adapters/page_pool.hpp"
#include "kernels/lora.hpp"
#include "kernels/lora_int8.hpp"

namespace tessera {

// Immutable; shared by cache, engine and steps in flight.
class PackedAdapter {
 public:
  // `data` holds the parts of `layout`: at least layout.bytes. `pool`, if any, gets the memory
  // back.
  PackedAdapter(PackedLayout layout, PageMemory data, std::shared_ptr<PagePool> pool = nullptr);
  ~PackedAdapter();
  PackedAdapter(const PackedAdapter&) = delete;
  PackedAdapter& operator=(const PackedAdapter&) = delete;

  // Views into this object's memory.
  const LoraView& view() const { return view_; }
  const PackedLayout& layout() const { return layout_; }
  std::span<const std::byte> data() const { return {data_.data(), layout_.bytes}; }
  // Size of the pages, and of the memory that holds them.
  std::size_t bytes() const { return layout_.bytes; }
  std::size_t footprint() const { return data_.footprint(); }
  int max_rank() const { return max_rank_; }
  bool is_plain() const { return is_plain_; }
  // Adapter::invocation.
  std::span<const TokenId> invocation() const { return layout_.invocation; }

 private:
  PackedLayout layout_;
  PageMemory data_;
  std::shared_ptr<PagePool> pool_;
  int max_rank_;
  bool is_plain_;
  LoraView view_;
};

// Packs an adapter part by part, so that not all of its pages need be in memory: a module each, in
// the order of the layout, then the rows of the embedding, then those of the head.
class PagePacker {
 public:
  // `adapter` outlives it.
  PagePacker(const Adapter& adapter, PageType type);

  const PackedLayout& layout() const { return layout_; }
  std::size_t num_parts() const { return layout_.modules.size() + 2; }
  // Parts lie one behind the other, from 0 to layout().bytes.
  std::size_t begin_of(std::size_t part) const;
  std::size_t bytes_of(std::size_t part) const { return begin_of(part + 1) - begin_of(part); }

  // Each part once, in order. `out` has bytes_of(part) bytes, all zero, on a 64-byte boundary.
  void pack(std::size_t part, std::span<std::byte> out);

  // What pages of 8 bits have cost so far (none, of the other types).
  PageError error() const { return error_; }

 private:
  void pack_module(std::size_t index, std::byte* out);

  const Adapter& adapter_;
  const PackedLayout layout_;
  std::uint64_t work_left_;  // of balancing, for all modules together
  AdapterModule buffer_;     // of pairs that are read as they are needed
  PageError error_ = {};
};

// `error` is told what pages of 8 bits cost (none, of the other types).
std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter& adapter, PageType type,
                                                  PageError* error = nullptr);

}  // namespace tessera
