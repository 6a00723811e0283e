// block_pool.hpp — the KV-cache blocks, and the prefix cache that shares them.
//
// Every block is in exactly one of four states:
//   used    ref_count >= 1; it is in that many block tables
//   cached  ref_count == 0; it holds a prefix that may be asked for again; oldest first in a list
//   blank   ref_count == 0; it holds nothing; taken before cached ones
//   lent    its memory is somebody else's for a while (engine/memory_shares.hpp)
// A free block is a cached or a blank one.
//
// A full block is named by a hash chain: SHA-256 of the previous block's name and its token ids;
// the chain begins with the salt and the adapter's digest. They say who may share: sequences of
// different adapters must not, because a LoRA delta on k_proj or v_proj makes their keys and values
// differ; sequences of different tenants must not, because a shared prefix would be visible in the
// time to first token; nor must a sequence that turns by LongRoPE's long frequencies
// (StepInput::long_rope) share with one that does not. Where an adapter applies from some position
// on (StepInput::lora_start), blocks that end before it are the base's and so named. A hit compares
// the token ids too, so that no bug in naming can show one sequence another's cache.
//
// Owned and called by the engine thread alone; no locks.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"

namespace tessera {

using BlockTable = std::vector<BlockId>;  // position p lives in block_table[p / block_size]

struct BlockNameTag {};
using BlockName = Digest<BlockNameTag>;

// The names of a sequence's full blocks, computed once each.
class PrefixChain {
 public:
  PrefixChain() = default;
  PrefixChain(std::uint64_t salt, const std::optional<AdapterDigest>& adapter,
              bool long_rope = false, int lora_start = 0);

  // Names every block that `tokens`, which only ever grows, has filled since the last call.
  void extend(std::span<const TokenId> tokens, int block_size);
  void reserve(int num_blocks) { names_.reserve(static_cast<std::size_t>(num_blocks)); }

  std::span<const BlockName> names() const { return names_; }
  // The adapter that block `index` depends on.
  const std::optional<AdapterDigest>& adapter_of(int index, int block_size) const {
    return index < lora_start_ / block_size ? kBase : adapter_;
  }

 private:
  static constexpr std::optional<AdapterDigest> kBase = std::nullopt;

  BlockName root_;
  std::optional<AdapterDigest> adapter_;
  int lora_start_ = 0;
  std::vector<BlockName> names_;
};

class BlockPool {
 public:
  BlockPool(int num_blocks, int block_size);

  // Fills the empty `table` with the longest cached prefix of `tokens` and takes a reference on
  // each block; returns the number of tokens covered. Leaves at least one token uncached, because
  // the last position must be computed to yield logits. `chain` names the full blocks of `tokens`.
  int match_prefix(const PrefixChain& chain, std::span<const TokenId> tokens, BlockTable& table);

  // How many blocks match_prefix would find.
  int num_matching(const PrefixChain& chain, std::span<const TokenId> tokens) const;

  // Whether match_prefix of `tokens`, and then grow to `num_tokens`, would succeed.
  bool has_room(const PrefixChain& chain, std::span<const TokenId> tokens, int num_tokens) const {
    return num_missing(chain, tokens, num_tokens) == 0;
  }
  // How many more free blocks that would take.
  int num_missing(const PrefixChain& chain, std::span<const TokenId> tokens, int num_tokens) const;

  // Appends free blocks until `table` covers `num_tokens`. All or nothing: on false, `table` and
  // the pool are unchanged and the caller has to preempt someone.
  [[nodiscard]] bool grow(BlockTable& table, int num_tokens);

  // Records the blocks [first_block, last_block) of `table`, all full of computed tokens, so that
  // match_prefix can find them. A name that is taken keeps its first block.
  void publish(const BlockTable& table, const PrefixChain& chain, std::span<const TokenId> tokens,
               int first_block, int last_block);

  // See Scheduler.
  void demote(const AdapterDigest& adapter);
  void forget(const AdapterDigest& adapter);

  // Lends up to `most` blank blocks, or cached ones, the oldest first. Appends to `written` those
  // that have ever been used; returns how many were lent.
  int lend_blank(int most, std::vector<BlockId>& written);
  int lend_cached(int most, std::vector<BlockId>& written);
  // Lends these, which are blank.
  void lend(std::span<const BlockId> blocks, std::vector<BlockId>& written);
  // Takes back blocks that are lent, whose content is whatever it is.
  void take_back(std::span<const BlockId> blocks);
  std::span<const BlockId> lent() const { return lent_; }  // in the order in which they were

  // Drops one reference on each block, last block first, so that heads of prefixes live longest,
  // and empties the table.
  void release(BlockTable& table);

  int blocks_for(int num_tokens) const { return (num_tokens + block_size_ - 1) / block_size_; }
  int num_blocks() const { return static_cast<int>(blocks_.size()); }
  int num_free() const { return blank_.size + cached_.size; }
  int num_blank() const { return blank_.size; }
  int num_lent() const { return static_cast<int>(lent_.size()); }
  int num_cached() const { return static_cast<int>(by_name_.size()); }
  int block_size() const { return block_size_; }

  // Asserts the states above for every block. Tests call it after every operation.
  void check_invariants() const;

 private:
  struct Block {
    std::int32_t ref_count = 0;
    BlockId older = kNone;  // neighbours in the list of blank or of cached ones
    BlockId newer = kNone;
    bool is_written = false;  // it has been used since it was there, or taken back
    bool is_lent = false;
    std::optional<BlockName> name;         // while published
    std::optional<AdapterDigest> adapter;  // that it depends on, while published
    std::vector<TokenId> tokens;           // what it holds, while published; (block_size,) reserved
  };
  static constexpr BlockId kNone = -1;

  // Linked through the blocks, so that one can be taken from the middle.
  struct List {
    BlockId oldest = kNone;
    BlockId newest = kNone;
    int size = 0;
  };

  Block& at(BlockId id) { return blocks_[static_cast<std::size_t>(id)]; }
  const Block& at(BlockId id) const { return blocks_[static_cast<std::size_t>(id)]; }
  // Calls `visit` for each block of the longest cached prefix that match_prefix may use.
  template <class Visit>
  void for_each_match(const PrefixChain& chain, std::span<const TokenId> tokens, Visit visit) const;
  std::optional<BlockId> find(const BlockName& name, std::span<const TokenId> tokens) const;
  void add_reference(BlockId id);
  BlockId take_free();
  void unname(Block& block);
  List& list_of(BlockId id) { return at(id).name ? cached_ : blank_; }
  void push_newest(List& list, BlockId id);
  void push_oldest(List& list, BlockId id);
  void unlink(List& list, BlockId id);
  void lend(BlockId id, std::vector<BlockId>& written);
  int check_list(const List& list) const;
  // Calls `visit` for each free block that caches a prefix of `adapter`.
  template <class Visit>
  void for_each_idle_of(const AdapterDigest& adapter, Visit visit);

  int block_size_;
  std::vector<Block> blocks_;
  List blank_;  // the last used at the oldest end, to be used again; those never used at the newest
  List cached_;
  std::vector<BlockId> lent_;
  // Recycles its nodes, so that publishing stops allocating once as many blocks as there are have
  // been published.
  std::pmr::unsynchronized_pool_resource nodes_;
  std::pmr::unordered_map<BlockName, BlockId, DigestHash> by_name_{&nodes_};
};

}  // namespace tessera
