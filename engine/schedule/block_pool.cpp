#include "engine/schedule/block_pool.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {

namespace {

std::span<const TokenId> tokens_of_block(std::span<const TokenId> tokens, int index,
                                         int block_size) {
  return tokens.subspan(static_cast<std::size_t>(index) * static_cast<std::size_t>(block_size),
                        static_cast<std::size_t>(block_size));
}

}  // namespace

PrefixChain::PrefixChain(std::uint64_t salt, const std::optional<AdapterDigest>& adapter,
                         bool long_rope, int lora_start)
    : adapter_(adapter), lora_start_(adapter ? lora_start : 0) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(&salt, 1)));
  if (adapter && lora_start_ == 0) hash.update(std::as_bytes(std::span(adapter->bytes)));
  if (long_rope) hash.update("long_rope");
  root_.bytes = hash.finish();
}

void PrefixChain::extend(std::span<const TokenId> tokens, int block_size) {
  const int num_full = static_cast<int>(tokens.size()) / block_size;
  for (int index = static_cast<int>(names_.size()); index < num_full; ++index) {
    const BlockName& parent = names_.empty() ? root_ : names_.back();
    Sha256 hash;
    hash.update(std::as_bytes(std::span(parent.bytes)));
    if (lora_start_ > 0 && index == lora_start_ / block_size) {  // the first that is not the base's
      hash.update(std::as_bytes(std::span(adapter_->bytes)));
      hash.update(std::as_bytes(std::span(&lora_start_, 1)));
    }
    hash.update(std::as_bytes(tokens_of_block(tokens, index, block_size)));
    names_.push_back({hash.finish()});
  }
}

BlockPool::BlockPool(int num_blocks, int block_size)
    : block_size_(block_size), blocks_(static_cast<std::size_t>(num_blocks)) {
  assert(num_blocks >= 1);
  assert(block_size >= 1);
  by_name_.reserve(blocks_.size());
  for (BlockId id = 0; id < num_blocks; ++id) {
    at(id).tokens.reserve(static_cast<std::size_t>(block_size));
    push_newest(blank_, id);
  }
  lent_.reserve(blocks_.size());
}

template <class Visit>
void BlockPool::for_each_match(const PrefixChain& chain, std::span<const TokenId> tokens,
                               Visit visit) const {
  const int most = (static_cast<int>(tokens.size()) - 1) / block_size_;
  assert(std::ssize(chain.names()) >= most);
  for (int index = 0; index < most; ++index) {
    const BlockName& name = chain.names()[static_cast<std::size_t>(index)];
    const auto id = find(name, tokens_of_block(tokens, index, block_size_));
    if (!id) return;
    visit(*id);
  }
}

int BlockPool::match_prefix(const PrefixChain& chain, std::span<const TokenId> tokens,
                            BlockTable& table) {
  assert(table.empty());
  for_each_match(chain, tokens, [&](BlockId id) {
    add_reference(id);
    table.push_back(id);
  });
  return static_cast<int>(table.size()) * block_size_;
}

int BlockPool::num_matching(const PrefixChain& chain, std::span<const TokenId> tokens) const {
  int count = 0;
  for_each_match(chain, tokens, [&](BlockId) { ++count; });
  return count;
}

int BlockPool::num_missing(const PrefixChain& chain, std::span<const TokenId> tokens,
                           int num_tokens) const {
  int missing = blocks_for(num_tokens);
  int available = num_free();
  for_each_match(chain, tokens, [&](BlockId id) {
    --missing;
    if (at(id).ref_count == 0) --available;
  });
  return std::max(missing - available, 0);
}

bool BlockPool::grow(BlockTable& table, int num_tokens) {
  const int missing = blocks_for(num_tokens) - static_cast<int>(table.size());
  if (missing > num_free()) return false;
  for (int i = 0; i < missing; ++i) table.push_back(take_free());
  return true;
}

void BlockPool::publish(const BlockTable& table, const PrefixChain& chain,
                        std::span<const TokenId> tokens, int first_block, int last_block) {
  for (int index = first_block; index < last_block; ++index) {
    const BlockName& name = chain.names()[static_cast<std::size_t>(index)];
    const BlockId id = table[static_cast<std::size_t>(index)];
    assert(at(id).ref_count >= 1);
    if (at(id).name || !by_name_.emplace(name, id).second) continue;
    const auto content = tokens_of_block(tokens, index, block_size_);
    at(id).name = name;
    at(id).adapter = chain.adapter_of(index, block_size_);
    at(id).tokens.assign(content.begin(), content.end());
  }
}

void BlockPool::release(BlockTable& table) {
  for (auto id = table.rbegin(); id != table.rend(); ++id) {
    assert(at(*id).ref_count >= 1);
    if (--at(*id).ref_count > 0) continue;
    at(*id).name ? push_newest(cached_, *id) : push_oldest(blank_, *id);
  }
  table.clear();
}

std::optional<BlockId> BlockPool::find(const BlockName& name,
                                       std::span<const TokenId> tokens) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  if (!std::ranges::equal(at(found->second).tokens, tokens)) return std::nullopt;
  return found->second;
}

void BlockPool::add_reference(BlockId id) {
  if (at(id).ref_count == 0) unlink(list_of(id), id);
  ++at(id).ref_count;
}

// The block loses what it held: whoever takes it is about to overwrite it.
BlockId BlockPool::take_free() {
  List& list = blank_.size > 0 ? blank_ : cached_;
  const BlockId id = list.oldest;
  assert(id != kNone);
  unlink(list, id);
  Block& block = at(id);
  unname(block);
  block.ref_count = 1;
  block.is_written = true;
  return id;
}

void BlockPool::unname(Block& block) {
  if (block.name) by_name_.erase(*block.name);
  block.name.reset();
  block.adapter.reset();
  block.tokens.clear();
}

template <class Visit>
void BlockPool::for_each_idle_of(const AdapterDigest& adapter, Visit visit) {
  for (BlockId id = 0; id < num_blocks(); ++id) {
    const Block& block = at(id);
    if (block.ref_count == 0 && block.name && block.adapter == adapter) visit(id);
  }
}

void BlockPool::demote(const AdapterDigest& adapter) {
  for_each_idle_of(adapter, [this](BlockId id) {
    unlink(cached_, id);
    push_oldest(cached_, id);
  });
}

void BlockPool::forget(const AdapterDigest& adapter) {
  for_each_idle_of(adapter, [this](BlockId id) {
    unlink(cached_, id);
    unname(at(id));
    push_oldest(blank_, id);
  });
}

// Those that were never used go first: their memory was never taken.
int BlockPool::lend_blank(int most, std::vector<BlockId>& written) {
  const int count = std::min(most, blank_.size);
  for (int i = 0; i < count; ++i) {
    const BlockId id = blank_.newest;
    unlink(blank_, id);
    lend(id, written);
  }
  return count;
}

int BlockPool::lend_cached(int most, std::vector<BlockId>& written) {
  const int count = std::min(most, cached_.size);
  for (int i = 0; i < count; ++i) {
    const BlockId id = cached_.oldest;
    unlink(cached_, id);
    unname(at(id));
    lend(id, written);
  }
  return count;
}

void BlockPool::lend(std::span<const BlockId> blocks, std::vector<BlockId>& written) {
  for (const BlockId id : blocks) {
    unlink(blank_, id);
    lend(id, written);
  }
}

void BlockPool::lend(BlockId id, std::vector<BlockId>& written) {
  if (at(id).is_written) written.push_back(id);
  at(id).is_written = false;
  at(id).is_lent = true;
  lent_.push_back(id);
}

void BlockPool::take_back(std::span<const BlockId> blocks) {
  for (const BlockId id : blocks) {
    assert(at(id).is_lent);
    at(id).is_lent = false;
    push_newest(blank_, id);
  }
  std::erase_if(lent_, [this](BlockId id) { return !at(id).is_lent; });
}

void BlockPool::push_newest(List& list, BlockId id) {
  at(id).older = list.newest;
  at(id).newer = kNone;
  (list.newest == kNone ? list.oldest : at(list.newest).newer) = id;
  list.newest = id;
  ++list.size;
}

void BlockPool::push_oldest(List& list, BlockId id) {
  at(id).older = kNone;
  at(id).newer = list.oldest;
  (list.oldest == kNone ? list.newest : at(list.oldest).older) = id;
  list.oldest = id;
  ++list.size;
}

void BlockPool::unlink(List& list, BlockId id) {
  const auto [older, newer] = std::pair(at(id).older, at(id).newer);
  (older == kNone ? list.oldest : at(older).newer) = newer;
  (newer == kNone ? list.newest : at(newer).older) = older;
  --list.size;
}

// How many of the list's blocks hold a prefix.
int BlockPool::check_list(const List& list) const {
  int listed = 0;
  int named = 0;
  [[maybe_unused]] BlockId older = kNone;
  for (BlockId id = list.oldest; id != kNone; older = id, id = at(id).newer, ++listed) {
    assert(at(id).ref_count == 0);
    assert(at(id).older == older);
    assert(listed < num_blocks());  // no cycle
    named += at(id).name ? 1 : 0;
  }
  assert(older == list.newest);
  assert(listed == list.size);
  return named;
}

void BlockPool::check_invariants() const {
  [[maybe_unused]] const int blank_named = check_list(blank_);
  [[maybe_unused]] const int cached_named = check_list(cached_);
  assert(blank_named == 0);
  assert(cached_named == cached_.size);

  int unused = 0;
  int named = 0;
  int lent = 0;
  for (BlockId id = 0; id < num_blocks(); ++id) {
    const Block& block = at(id);
    assert(block.ref_count >= 0);
    unused += block.ref_count == 0 ? 1 : 0;
    lent += block.is_lent ? 1 : 0;
    assert(!block.is_lent || (block.ref_count == 0 && !block.name));
    named += block.name ? 1 : 0;
    assert(block.tokens.size() == (block.name ? static_cast<std::size_t>(block_size_) : 0));
    assert(!block.name || by_name_.at(*block.name) == id);
  }
  assert(lent == num_lent());
  assert(unused == num_free() + num_lent());
  assert(named == num_cached());
}

}  // namespace tessera
