#include "kernels/cuda/adapter_store.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace tessera {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20;  // sent in one copy, and at most a step
constexpr std::size_t kAlignment = 256;
// From so many bytes on a part begins a run of its own: runs of one size fill the gaps that others
// have left, which whole adapters would not.
constexpr std::size_t kRunBytes = std::size_t{1} << 20;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}
std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

void check(const LoraView& adapter) {
  if (adapter.type == PageType::kF32) {
    throw std::invalid_argument("a GPU takes adapters in bf16 or int8 pages, not in fp32");
  }
}

// Where a part will be, as an offset that place() turns into an address.
template <class T>
const T* offset_pointer(std::size_t at) {
  return reinterpret_cast<const T*>(at);
}

}  // namespace

std::size_t AdapterStore::table_bytes(const ModelSpec& spec, int max_slots) {
  const auto modules = static_cast<std::size_t>(LoraModuleNumbers(spec).count());
  return static_cast<std::size_t>(max_slots) * (modules * sizeof(LoraEntry) + 2 * sizeof(LoraRows));
}

AdapterStore::AdapterStore(const ModelSpec& spec, GranulePool& pool, int max_slots)
    : spec_(spec),
      pool_(pool),
      num_modules_(LoraModuleNumbers(spec).count()),
      entries_(area(max_slots, num_modules_)),
      embed_rows_(static_cast<std::size_t>(max_slots)),
      head_rows_(static_cast<std::size_t>(max_slots)),
      slots_(static_cast<std::size_t>(max_slots)) {
  for (Chunk& chunk : ring_) chunk.memory = PinnedBuffer<std::byte>(kChunkBytes);
}

AdapterStore::~AdapterStore() {
  copies_.synchronize();
}

// A part's bytes go to `at`; returns where the next begins.
std::size_t AdapterStore::add_module(const LoraModule& module, PageType type, LinearShape shape,
                                     std::size_t at, LoraEntry& entry, Slot& slot) {
  entry = {};
  entry.rank = module.rank;
  entry.type = type;
  const int padded = pages_of_rank(module.rank) * kRanksPerPage;
  const auto part = [&](const void* from, std::size_t bytes) {
    const std::size_t here = at;
    slot.pieces.push_back({reinterpret_cast<std::byte*>(here), from, bytes, next_part_});
    at += aligned(bytes);
    return here;
  };
  const auto outputs = static_cast<std::size_t>(shape.out_features) * sizeof(float);
  if (module.rank > 0) {
    entry.a = offset_pointer<std::byte>(
        part(module.a, area(padded, shape.in_features) * element_bytes(type)));
    entry.b = offset_pointer<std::byte>(
        part(module.b, area(padded, shape.out_features) * element_bytes(type)));
    if (type == PageType::kInt8) {
      entry.scales = offset_pointer<float>(
          part(module.scales, static_cast<std::size_t>(padded) * sizeof(float)));
    }
  }
  if (module.out_scale != nullptr) {
    entry.out_scale = offset_pointer<float>(part(module.out_scale, outputs));
  }
  if (module.bias != nullptr) entry.bias = offset_pointer<float>(part(module.bias, outputs));
  return at;
}

std::size_t AdapterStore::add_rows(const RowOverrides& rows, std::size_t at, LoraRows& entry,
                                   Slot& slot) {
  entry = {};
  if (rows.ids.empty()) return at;
  entry.count = static_cast<std::int32_t>(rows.ids.size());
  entry.ids = offset_pointer<TokenId>(at);
  slot.pieces.push_back(
      {reinterpret_cast<std::byte*>(at), rows.ids.data(), rows.ids.size_bytes(), next_part_});
  at += aligned(rows.ids.size_bytes());
  entry.rows = offset_pointer<std::uint16_t>(at);
  const std::size_t bytes = area(entry.count, spec_.hidden) * sizeof(std::uint16_t);
  slot.pieces.push_back({reinterpret_cast<std::byte*>(at), rows.rows, bytes, next_part_});
  return at + aligned(bytes);
}

// An adapter that leaves a layer's experts alone has none to lay out, but their modules.
std::size_t AdapterStore::layout_experts(const LoraLayer& layer, PageType type, std::size_t at,
                                         std::size_t& module, Slot& slot) {
  for (const auto& expert : layer.experts) {
    for (std::size_t i = 0; i < expert.size(); ++i) {
      at = add_module(expert[i], type, spec_.expert_shape(kExpertLinears[i]), at,
                      slot.entries[module++], slot);
    }
  }
  if (layer.experts.empty()) {
    module += static_cast<std::size_t>(spec_.num_experts) * kNumExpertLinears;
  }
  return at;
}

// Offsets of all parts from the beginning of the adapter's memory, layer by layer; the bytes of
// all. Offset 0 is left out, so that it says "absent".
std::size_t AdapterStore::layout(const LoraView& adapter, Slot& slot) {
  slot.pieces.clear();
  slot.entries.assign(static_cast<std::size_t>(num_modules_), {});
  std::size_t at = kAlignment;
  std::size_t module = 0;
  for (std::size_t i = 0; i < adapter.layers.size(); ++i) {
    const LoraLayer& layer = adapter.layers[i];
    next_part_ = part_of_layer(static_cast<int>(i));
    for (const Linear linear : kAllLinears) {
      at = add_module(layer[static_cast<std::size_t>(linear)], adapter.type, spec_.shape(linear),
                      at, slot.entries[module++], slot);
    }
    if (spec_.layers[i].experts) at = layout_experts(layer, adapter.type, at, module, slot);
  }
  next_part_ = 0;
  at = add_module(adapter.embed, adapter.type, {spec_.hidden, spec_.vocab_size}, at,
                  slot.entries[module++], slot);
  at = add_rows(adapter.embed_rows, at, slot.rows[0], slot);
  next_part_ = last_part();
  at = add_module(adapter.head, adapter.type, {spec_.vocab_size, spec_.hidden}, at,
                  slot.entries[module++], slot);
  return add_rows(adapter.head_rows, at, slot.rows[1], slot);
}

bool AdapterStore::allocate(Slot& slot, std::size_t bytes) {
  slot.runs.assign(1, {0, nullptr});
  for (const Piece& piece : slot.pieces) {
    const auto at = reinterpret_cast<std::size_t>(piece.to);
    if (at - slot.runs.back().begin >= kRunBytes) slot.runs.push_back({at, nullptr});
  }
  for (std::size_t i = 0; i < slot.runs.size(); ++i) {
    const std::size_t end = i + 1 < slot.runs.size() ? slot.runs[i + 1].begin : bytes;
    slot.runs[i].memory = pool_.allocate(end - slot.runs[i].begin);
    if (slot.runs[i].memory != nullptr) continue;
    release(slot);
    return false;
  }
  return true;
}

void AdapterStore::release(Slot& slot) {
  for (const Slot::Run& run : slot.runs) pool_.release(run.memory);
  slot.runs.clear();
}

std::byte* AdapterStore::Slot::address(std::size_t at) const {
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), at,
                       [](std::size_t offset, const Run& run) { return offset < run.begin; });
  const Run& run = *std::prev(after);
  return run.memory + (at - run.begin);
}

template <class T>
void AdapterStore::Slot::move(const T*& offset) const {
  if (offset == nullptr) return;
  offset = reinterpret_cast<const T*>(address(reinterpret_cast<std::size_t>(offset)));
}

// Turns offsets into addresses, adds the slot's own part of the table, and puts the pieces in the
// order of their parts.
void AdapterStore::place(Slot& slot, std::size_t index) {
  for (LoraEntry& entry : slot.entries) {
    slot.move(entry.a);
    slot.move(entry.b);
    slot.move(entry.scales);
    slot.move(entry.out_scale);
    slot.move(entry.bias);
  }
  for (LoraRows& rows : slot.rows) {
    slot.move(rows.ids);
    slot.move(rows.rows);
  }
  for (Piece& piece : slot.pieces) {
    piece.to = slot.address(reinterpret_cast<std::size_t>(piece.to));
  }
  const auto bytes = [](auto* pointer) { return reinterpret_cast<std::byte*>(pointer); };
  slot.pieces.push_back({bytes(entries_.data() + index * static_cast<std::size_t>(num_modules_)),
                         slot.entries.data(), slot.entries.size() * sizeof(LoraEntry), 0});
  slot.pieces.push_back({bytes(embed_rows_.data() + index), &slot.rows[0], sizeof(LoraRows), 0});
  slot.pieces.push_back({bytes(head_rows_.data() + index), &slot.rows[1], sizeof(LoraRows), 0});
  std::stable_sort(slot.pieces.begin(), slot.pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.part < b.part; });
}

AdapterSlot AdapterStore::add(const LoraView& adapter) {
  check(adapter);
  const auto free =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.is_used; });
  if (free == slots_.end()) return kNoAdapter;
  Slot& slot = *free;
  const auto index = static_cast<std::size_t>(free - slots_.begin());
  if (!allocate(slot, layout(adapter, slot))) return kNoAdapter;
  place(slot, index);
  slot.is_used = true;
  slot.next_piece = slot.next_byte = 0;
  copies_.wait(stepped_);
  return static_cast<AdapterSlot>(index);
}

void AdapterStore::remove(AdapterSlot index) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  release(slot);
  slot.is_used = false;
}

bool AdapterStore::send_chunk(Slot& slot, int part) {
  const auto is_wanted = [&] {
    return slot.next_piece < slot.pieces.size() && slot.pieces[slot.next_piece].part <= part;
  };
  if (!is_wanted()) return false;
  Chunk& chunk = ring_[next_chunk_];
  next_chunk_ = (next_chunk_ + 1) % ring_.size();
  chunk.sent.synchronize();
  std::size_t filled = 0;
  while (is_wanted() && filled < kChunkBytes) {
    const Piece& piece = slot.pieces[slot.next_piece];
    const std::size_t count = std::min(piece.bytes - slot.next_byte, kChunkBytes - filled);
    std::byte* staged = chunk.memory.data() + filled;
    std::memcpy(staged, static_cast<const std::byte*>(piece.from) + slot.next_byte, count);
    copies_.copy_to_device(piece.to + slot.next_byte, staged, count);
    filled += count;
    slot.next_byte += count;
    if (slot.next_byte < piece.bytes) continue;
    ++slot.next_piece;
    slot.next_byte = 0;
  }
  copies_.record(chunk.sent);
  if (slot.next_piece == slot.pieces.size()) copies_.record(slot.loaded);
  return true;
}

bool AdapterStore::has_sent(std::span<const AdapterSlot> slots) const {
  return std::all_of(slots.begin(), slots.end(), [&](AdapterSlot index) {
    const Slot& slot = slots_[static_cast<std::size_t>(index)];
    return slot.next_piece == slot.pieces.size();
  });
}

// Of an adapter that is on its way every chunk sent so far is before `arrived_` in the stream.
void AdapterStore::require(std::span<const AdapterSlot> slots, int part, CudaStream& steps) {
  bool is_on_its_way = false;
  for (const AdapterSlot index : slots) {
    Slot& slot = slots_[static_cast<std::size_t>(index)];
    while (send_chunk(slot, part)) {
    }
    const bool is_all_sent = slot.next_piece == slot.pieces.size();
    if (is_all_sent && slot.loaded.is_reached()) continue;
    is_on_its_way = true;
  }
  if (!is_on_its_way) return;
  copies_.record(arrived_);
  steps.wait(arrived_);
}

void AdapterStore::advance() {
  for (Slot& slot : slots_) {
    if (slot.is_used && send_chunk(slot, last_part())) return;
  }
}

void AdapterStore::note_step(CudaStream& steps) {
  steps.record(stepped_);
}

LoraTable AdapterStore::table() const {
  return {entries_.data(), embed_rows_.data(), head_rows_.data(), num_modules_,
          static_cast<std::int32_t>(slots_.size())};
}

}  // namespace tessera
