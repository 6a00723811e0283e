#include "kernels/cuda/adapter_store.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>

namespace tessera {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20;  // sent in one copy, and at most a step
constexpr std::size_t kAlignment = 256;
// Pieces lie in runs of at most so many bytes, or alone: runs of one size fill the gaps that others
// have left, which whole adapters would not. Shorter ones where the gaps are.
constexpr std::size_t kRunBytes[] = {std::size_t{1} << 20, std::size_t{256} << 10,
                                     std::size_t{64} << 10, 0};

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

// Where things end: a device that has failed reads nothing any more, and tells whoever asks next.
template <class Waited>
void wait_for(Waited& waited) noexcept {
  try {
    waited.synchronize();
  } catch (const CudaError&) {
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
  wait_for(copies_);
}

std::size_t AdapterStore::add_piece(const void* from, std::size_t bytes, std::size_t at,
                                    Slot& slot) const {
  slot.pieces.push_back({at, nullptr, from, bytes, next_part_, slot.is_pinned});
  return at + aligned(bytes);
}

std::size_t AdapterStore::add_own_piece(const void* from, std::size_t bytes, std::size_t at,
                                        Slot& slot) const {
  slot.pieces.push_back({at, nullptr, from, bytes, next_part_, false});
  return at + aligned(bytes);
}

// A page's halves are pieces of their own: they need not be beside each other, nor beside others.
// Where they are they lie as in host memory, all of A, then all of B.
std::size_t AdapterStore::add_pages(const LoraModule& module, PageType type, LinearShape shape,
                                    std::size_t at, Slot& slot) const {
  const auto num_pages = static_cast<std::size_t>(pages_of_rank(module.rank));
  const std::size_t first = slot.pages.size();
  slot.pages.resize(first + num_pages);
  const auto add_halves = [&](const std::byte* from, int features, auto half) {
    const std::size_t bytes = area(features, kRanksPerPage) * element_bytes(type);
    for (std::size_t page = 0; page < num_pages; ++page) {
      slot.pages[first + page].*half = offset_pointer<std::byte>(at);
      at = add_piece(from + page * bytes, bytes, at, slot);
    }
  };
  add_halves(module.a, shape.in_features, &LoraPage::a);
  add_halves(module.b, shape.out_features, &LoraPage::b);
  return at;
}

// A part's bytes go to `at`; returns where the next begins.
std::size_t AdapterStore::add_module(const LoraModule& module, PageType type, LinearShape shape,
                                     std::size_t at, LoraEntry& entry, Slot& slot) {
  entry = {};
  entry.rank = module.rank;
  entry.type = type;
  const auto add_floats = [&](const float* from, std::size_t count, const float*& to) {
    if (from == nullptr) return;
    to = offset_pointer<float>(at);
    at = add_piece(from, count * sizeof(float), at, slot);
  };
  at = add_pages(module, type, shape, at, slot);
  const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank) * kRanksPerPage);
  const auto outputs = static_cast<std::size_t>(shape.out_features);
  if (module.rank > 0 && type == PageType::kInt8) add_floats(module.scales, ranks, entry.scales);
  add_floats(module.out_scale, outputs, entry.out_scale);
  add_floats(module.bias, outputs, entry.bias);
  return at;
}

std::size_t AdapterStore::add_rows(const RowOverrides& rows, std::size_t at, LoraRows& entry,
                                   Slot& slot) {
  entry = {};
  if (rows.ids.empty()) return at;
  entry.count = static_cast<std::int32_t>(rows.ids.size());
  entry.ids = offset_pointer<TokenId>(at);
  at = add_piece(rows.ids.data(), rows.ids.size_bytes(), at, slot);
  entry.rows = offset_pointer<std::uint16_t>(at);
  return add_piece(rows.rows, area(entry.count, spec_.hidden) * sizeof(std::uint16_t), at, slot);
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

// Offsets of all parts from the beginning of the adapter's memory, layer by layer, and of the table
// of its pages; the bytes of all. Offset 0 is left out, so that it says "absent".
std::size_t AdapterStore::layout(const LoraView& adapter, Slot& slot) {
  slot.pieces.clear();
  slot.pages.clear();
  slot.entries.assign(static_cast<std::size_t>(num_modules_), {});
  slot.is_pinned = adapter.is_pinned;
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
  at = add_rows(adapter.head_rows, at, slot.rows[1], slot);
  slot.page_table = nullptr;
  if (slot.pages.empty()) return at;
  next_part_ = 0;
  slot.page_table = offset_pointer<LoraPage>(at);
  return add_own_piece(slot.pages.data(), slot.pages.size() * sizeof(LoraPage), at, slot);
}

bool AdapterStore::allocate(Slot& slot, std::size_t bytes) {
  return std::any_of(std::begin(kRunBytes), std::end(kRunBytes),
                     [&](std::size_t most) { return allocate(slot, bytes, most); });
}

bool AdapterStore::allocate(Slot& slot, std::size_t bytes, std::size_t most_of_run) {
  slot.runs.assign(1, {0, nullptr});
  for (const Piece& piece : slot.pieces) {
    const std::size_t begin = slot.runs.back().begin;
    const bool is_first = piece.at <= begin + kAlignment;
    if (!is_first && piece.at + piece.bytes > begin + most_of_run) {
      slot.runs.push_back({piece.at, nullptr});
    }
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
  slot.move(slot.page_table);
  for (LoraPage& page : slot.pages) {
    slot.move(page.a);
    slot.move(page.b);
  }
  const LoraPage* next_page = slot.page_table;
  for (LoraEntry& entry : slot.entries) {
    const int num_pages = pages_of_rank(entry.rank);
    if (num_pages > 0) entry.pages = next_page;
    next_page += num_pages;
    slot.move(entry.scales);
    slot.move(entry.out_scale);
    slot.move(entry.bias);
  }
  for (LoraRows& rows : slot.rows) {
    slot.move(rows.ids);
    slot.move(rows.rows);
  }
  for (Piece& piece : slot.pieces) piece.to = slot.address(piece.at);
  const auto add = [&](auto* to, const void* from, std::size_t bytes) {
    slot.pieces.push_back({kNoOffset, reinterpret_cast<std::byte*>(to), from, bytes, 0, false});
  };
  add(entries_.data() + index * static_cast<std::size_t>(num_modules_), slot.entries.data(),
      slot.entries.size() * sizeof(LoraEntry));
  add(embed_rows_.data() + index, &slot.rows[0], sizeof(LoraRows));
  add(head_rows_.data() + index, &slot.rows[1], sizeof(LoraRows));
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

// Whoever owns the pages may free them then: no copy is to read them any more.
void AdapterStore::remove(AdapterSlot index) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (slot.is_pinned) wait_for(slot.sent);
  release(slot);
  slot.is_used = false;
}

// The bytes between them if `next` lies behind `piece` in its run, but for what aligns it.
std::optional<std::size_t> AdapterStore::gap_between(const Piece& piece, const Piece& next) {
  if (piece.at == kNoOffset || next.at == kNoOffset) return std::nullopt;
  const std::size_t distance = next.at - piece.at;
  if (next.to != piece.to + distance || distance - piece.bytes >= kAlignment) return std::nullopt;
  return distance - piece.bytes;
}

// Whether what is from one to the end of the other lies on the device as it does on the host.
bool AdapterStore::lie_alike(const Piece& piece, const Piece& next) {
  const auto* from = static_cast<const std::byte*>(piece.from);
  const auto gap = gap_between(piece, next);
  return gap && next.from == from + piece.bytes + *gap;
}

const AdapterStore::Piece* AdapterStore::next_piece(const Slot& slot, int part) {
  if (slot.next_piece == slot.pieces.size()) return nullptr;
  const Piece& piece = slot.pieces[slot.next_piece];
  return piece.part <= part ? &piece : nullptr;
}

bool AdapterStore::send_chunk(Slot& slot, int part) {
  const Piece* piece = next_piece(slot, part);
  if (piece == nullptr) return false;
  std::size_t left = kChunkBytes;
  bool was_staged = false;  // one buffer is enough
  while (piece != nullptr && left > 0 && (piece->is_pinned || !was_staged)) {
    was_staged |= !piece->is_pinned;
    left -= piece->is_pinned ? send_pinned(slot, part, left) : send_staged(slot, part, left);
    piece = next_piece(slot, part);
  }
  copies_.record(slot.sent);
  return true;
}

// One copy: pieces that lie alike, or a part of one.
std::size_t AdapterStore::send_pinned(Slot& slot, int part, std::size_t most) {
  const Piece& first = slot.pieces[slot.next_piece];
  const std::size_t begin = slot.next_byte;
  std::size_t count = std::min(first.bytes - begin, most);
  slot.next_byte += count;
  const Piece* last = &first;
  while (slot.next_byte == last->bytes) {
    ++slot.next_piece;
    slot.next_byte = 0;
    const Piece* next = next_piece(slot, part);
    if (next == nullptr || !next->is_pinned || !lie_alike(*last, *next)) break;
    const auto end = static_cast<std::size_t>(next->to - first.to) + next->bytes - begin;
    if (end > most) break;
    count = end;
    slot.next_byte = next->bytes;
    last = next;
  }
  copies_.copy_to_device(first.to + begin, static_cast<const std::byte*>(first.from) + begin,
                         count);
  return count;
}

// Pieces that follow each other are staged as they will lie, and go in one copy.
std::size_t AdapterStore::send_staged(Slot& slot, int part, std::size_t most) {
  Chunk& chunk = ring_[next_chunk_];
  next_chunk_ = (next_chunk_ + 1) % ring_.size();
  chunk.sent.synchronize();
  std::byte* const memory = chunk.memory.data();
  std::size_t begin = 0;  // of what goes in the next copy
  std::size_t end = 0;
  std::byte* to = nullptr;
  const Piece* last = nullptr;
  while (const Piece* piece = end < most ? next_piece(slot, part) : nullptr) {
    if (piece->is_pinned) break;
    const auto gap = last == nullptr ? std::nullopt : gap_between(*last, *piece);
    if (gap && *gap >= most - end) break;
    if (gap) {
      end += *gap;
    } else {
      copies_.copy_to_device(to, memory + begin, end - begin);
      begin = end;
      to = piece->to + slot.next_byte;
    }
    const std::size_t count = std::min(piece->bytes - slot.next_byte, most - end);
    std::memcpy(memory + end, static_cast<const std::byte*>(piece->from) + slot.next_byte, count);
    end += count;
    last = piece;
    slot.next_byte += count;
    if (slot.next_byte < piece->bytes) break;
    ++slot.next_piece;
    slot.next_byte = 0;
  }
  copies_.copy_to_device(to, memory + begin, end - begin);
  copies_.record(chunk.sent);
  return end;
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
    if (is_all_sent && slot.sent.is_reached()) continue;
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

void AdapterStore::take_blocks(int most, std::vector<BlockId>& blocks, CudaStream& steps) {
  const std::size_t before = blocks.size();
  pool_.take(most, blocks);
  if (blocks.size() == before) return;
  copies_.record(copied_);
  steps.wait(copied_);
}

LoraTable AdapterStore::table() const {
  return {entries_.data(), embed_rows_.data(), head_rows_.data(), num_modules_,
          static_cast<std::int32_t>(slots_.size())};
}

}  // namespace tessera
