// packed_adapter.hpp — an adapter in the pages that kernels read (kernels/lora.hpp).
//
// Packing transposes A, folds the scale into B in fp32, converts once (round to nearest even) and
// lays all pages of all modules into one mapping (huge pages, where there are some), each module's
// pages on a 64-byte boundary.
#pragma once

#include <cstddef>
#include <memory>

#include "adapters/adapter.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// Immutable after pack_adapter(); shared by cache, engine and steps in flight.
class PackedAdapter {
 public:
  // Views into this object's memory.
  const LoraView& view() const { return view_; }
  // Size of the pages.
  std::size_t bytes() const { return pages_.size(); }
  int max_rank() const { return max_rank_; }

 private:
  friend std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter&, PageType);

  AlignedBuffer<std::byte> pages_;
  int max_rank_ = 0;
  LoraView view_;
};

std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter& adapter, PageType type);

// What pack_adapter()'s result would take.
std::size_t packed_bytes(const Adapter& adapter, PageType type);

}  // namespace tessera
