// constraint_epoch.hpp — one recognizer of a constraint, and all that has been learnt of it.
//
// What sequences meet is kept as an automaton over tokens: a state for each position that some
// sequence has been at, with its mask and where tokens lead from it. Going a known way takes a
// shared lock and two look-ups, whatever others are computing; only what is new waits for the one
// lock around the recognizer. The tables only ever grow: when an epoch is full, its constraint
// begins another, and the matchers move over with the tokens they have accepted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/guided/hash_index.hpp"
#include "engine/guided/mask_store.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/guided/token_walk.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// A recognizer and what it stands on. What is below outlives what is above it.
struct CompiledRecognizer {
  explicit CompiledRecognizer(const GuidedLimits& limits)
      : fuel(limits.compile_fuel), pool(fuel, limits) {}

  Fuel fuel;
  RegexPool pool;
  std::unique_ptr<Recognizer> recognizer;
};

// The bytes that must follow a state, and where they lead.
struct ForcedBytes {
  std::string bytes;  // empty: the rest is not told
  Position end;
  bool ends = false;  // nothing but the end can follow them
};

struct TokenState {
  Position position;
  bool first = false;  // nothing has been read
  bool accepting = false;
  bool finished = false;
  mutable std::atomic<const MaskStore::Mask*> mask{nullptr};
  mutable std::atomic<const ForcedBytes*> forced{nullptr};
};

// Thread-safe. States live as long as the epoch.
class ConstraintEpoch {
 public:
  ConstraintEpoch(std::unique_ptr<CompiledRecognizer> compiled,
                  std::shared_ptr<const Vocabulary> vocabulary, const GuidedLimits& limits);
  ~ConstraintEpoch();

  // The state before anything is read; nullptr if the language is empty or the fuel did not do.
  const TokenState* start() const { return start_; }
  // Where `token` leads; nullptr if it is refused (or the fuel did not do).
  const TokenState* step(const TokenState& state, TokenId token);
  // nullptr if `fuel` did not do.
  const MaskStore::Mask* mask(const TokenState& state, std::uint64_t fuel);
  // nullptr if it is not there, or another thread is at work.
  const MaskStore::Mask* ready_mask(const TokenState& state);
  const ForcedBytes& forced(const TokenState& state);
  // Whether some token begins with `text` (not empty), goes on and is legal from `position`.
  bool continues(Position position, std::string_view text);
  std::string shortest_rest(const TokenState& state);

  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct PositionHash {
    std::size_t operator()(const Position& position) const;
  };
  struct Edge {
    const TokenState* from = nullptr;
    const TokenState* to = nullptr;
    TokenId token = 0;
  };
  static std::uint64_t edge_hash(const TokenState& from, TokenId token);

  Recognizer& recognizer() { return *compiled_->recognizer; }
  // These are called with recognizer_mutex_ held.
  Position read(const TokenState& state, TokenId token);
  const TokenState* state_at(Position position);
  const MaskStore::Mask* known_mask(const TokenState& state);
  const TokenMask& make_mask(const TokenState& state);
  // These with states_mutex_ held.
  const TokenState* known_step(const TokenState& from, TokenId token) const;
  void add_edge(const Edge& edge);
  void add_after_first_space(const TokenState& state, TokenMask& mask);
  bool has_live_token(Position position, const RankedTrie::Node& node);
  void count_bytes();

  const std::shared_ptr<const Vocabulary> vocabulary_;
  const GuidedLimits limits_;

  std::mutex recognizer_mutex_;  // taken before states_mutex_
  std::unique_ptr<CompiledRecognizer> compiled_;
  MaskStore masks_;
  TokenMask made_;  // the last that make_mask() made
  TokenWalk<Recognizer> walk_;
  std::deque<ForcedBytes> forced_;
  std::size_t forced_bytes_ = 0;
  int until_count_ = 0;  // changes until bytes are counted again
  const TokenState* start_ = nullptr;

  std::shared_mutex states_mutex_;
  std::deque<TokenState> states_;
  std::unordered_map<Position, const TokenState*, PositionHash> by_position_;
  std::vector<Edge> edges_;
  HashIndex edge_index_;

  std::atomic<std::size_t> bytes_{0};
};

}  // namespace tessera::guided
