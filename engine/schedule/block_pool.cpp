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
    push_free(id);
  }
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

bool BlockPool::has_room(const PrefixChain& chain, std::span<const TokenId> tokens,
                         int num_tokens) const {
  int missing = blocks_for(num_tokens);
  int available = num_free_;
  for_each_match(chain, tokens, [&](BlockId id) {
    --missing;
    if (at(id).ref_count == 0) --available;
  });
  return missing <= available;
}

bool BlockPool::grow(BlockTable& table, int num_tokens) {
  const int missing = blocks_for(num_tokens) - static_cast<int>(table.size());
  if (missing > num_free_) return false;
  for (int i = 0; i < missing; ++i) table.push_back(take_oldest_free());
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
    if (--at(*id).ref_count == 0) push_free(*id);
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
  if (at(id).ref_count == 0) unlink_free(id);
  ++at(id).ref_count;
}

// The block loses what it held: whoever takes it is about to overwrite it.
BlockId BlockPool::take_oldest_free() {
  const BlockId id = oldest_free_;
  assert(id != kNone);
  unlink_free(id);
  Block& block = at(id);
  unname(block);
  block.ref_count = 1;
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
    unlink_free(id);
    push_free_oldest(id);
  });
}

void BlockPool::forget(const AdapterDigest& adapter) {
  for_each_idle_of(adapter, [this](BlockId id) {
    unname(at(id));
    unlink_free(id);
    push_free_oldest(id);
  });
}

void BlockPool::push_free(BlockId id) {
  at(id).older = newest_free_;
  at(id).newer = kNone;
  (newest_free_ == kNone ? oldest_free_ : at(newest_free_).newer) = id;
  newest_free_ = id;
  ++num_free_;
}

void BlockPool::push_free_oldest(BlockId id) {
  at(id).older = kNone;
  at(id).newer = oldest_free_;
  (oldest_free_ == kNone ? newest_free_ : at(oldest_free_).older) = id;
  oldest_free_ = id;
  ++num_free_;
}

void BlockPool::unlink_free(BlockId id) {
  const auto [older, newer] = std::pair(at(id).older, at(id).newer);
  (older == kNone ? oldest_free_ : at(older).newer) = newer;
  (newer == kNone ? newest_free_ : at(newer).older) = older;
  --num_free_;
}

void BlockPool::check_invariants() const {
  int listed = 0;
  [[maybe_unused]] BlockId older = kNone;
  for (BlockId id = oldest_free_; id != kNone; older = id, id = at(id).newer, ++listed) {
    assert(at(id).ref_count == 0);
    assert(at(id).older == older);
    assert(listed < num_blocks());  // no cycle
  }
  assert(older == newest_free_);
  assert(listed == num_free_);

  int unused = 0;
  int named = 0;
  for (BlockId id = 0; id < num_blocks(); ++id) {
    const Block& block = at(id);
    assert(block.ref_count >= 0);
    unused += block.ref_count == 0 ? 1 : 0;
    named += block.name ? 1 : 0;
    assert(block.tokens.size() == (block.name ? static_cast<std::size_t>(block_size_) : 0));
    assert(!block.name || by_name_.at(*block.name) == id);
  }
  assert(unused == num_free_);
  assert(named == num_cached());
}

}  // namespace tessera
