#include "engine/guided/constraint_epoch.hpp"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::guided {
namespace {

constexpr std::size_t kMaxForcedBytes = 256;
constexpr std::size_t kMaxEdges = 65'536;  // a cache: beyond this it begins anew
constexpr std::size_t kStateBytes = sizeof(TokenState) + 64;
constexpr int kCountEvery = 16;
// Steps of the search for a token that goes on: beyond it we say that there is one.
constexpr int kMaxSearch = 2'000;

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 32U)) * 0x9E3779B97F4A7C15U;
  return value ^ (value >> 29U);
}

}  // namespace

std::size_t ConstraintEpoch::PositionHash::operator()(const Position& position) const {
  const std::uint64_t place = std::uint64_t{position.node} << 32U | position.mode;
  return mixed(position.lex + mixed(place));
}

std::uint64_t ConstraintEpoch::edge_hash(const TokenState& from, TokenId token) {
  return mixed(reinterpret_cast<std::uintptr_t>(&from) * 31 + static_cast<std::uint64_t>(token));
}

ConstraintEpoch::ConstraintEpoch(std::unique_ptr<CompiledRecognizer> compiled,
                                 std::shared_ptr<const Vocabulary> vocabulary,
                                 const GuidedLimits& limits)
    : vocabulary_(std::move(vocabulary)),
      limits_(limits),
      compiled_(std::move(compiled)),
      made_(vocabulary_->vocab_size()) {
  const std::lock_guard lock(recognizer_mutex_);
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    const Position position = recognizer().start();
    if (position.dead()) return;
    // A state of its own: where the first space is dropped, it is unlike any other.
    const bool accepting = recognizer().accepting(position);
    const bool finished = recognizer().finished(position);
    TokenState& state = states_.emplace_back();
    state.position = position;
    state.first = true;
    state.accepting = accepting;
    state.finished = finished;
    start_ = &state;
    if (!vocabulary_->drops_first_space()) by_position_[position] = start_;
  } catch (const FuelExhausted&) {
    start_ = nullptr;
  }
  until_count_ = 0;
  count_bytes();
}

ConstraintEpoch::~ConstraintEpoch() = default;

const TokenState* ConstraintEpoch::step(const TokenState& state, TokenId token) {
  {
    const std::shared_lock lock(states_mutex_);
    if (const TokenState* known = known_step(state, token)) return known;
  }
  const std::lock_guard lock(recognizer_mutex_);
  const TokenState* next = nullptr;
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    const Position position = read(state, token);
    if (position.dead()) return nullptr;
    next = state_at(position);
  } catch (const FuelExhausted&) {
    return nullptr;
  }
  {
    const std::unique_lock states_lock(states_mutex_);
    if (!known_step(state, token)) add_edge({&state, next, token});
  }
  count_bytes();
  return next;
}

const TokenState* ConstraintEpoch::known_step(const TokenState& from, TokenId token) const {
  const std::uint32_t found = edge_index_.find(edge_hash(from, token), [&](std::uint32_t edge) {
    return edges_[edge].from == &from && edges_[edge].token == token;
  });
  return found == HashIndex::kNone ? nullptr : edges_[found].to;
}

void ConstraintEpoch::add_edge(const Edge& edge) {
  if (edges_.size() >= kMaxEdges) {
    edges_.clear();
    edge_index_ = {};
  }
  edge_index_.insert(edge_hash(*edge.from, edge.token), static_cast<std::uint32_t>(edges_.size()));
  edges_.push_back(edge);
}

Position ConstraintEpoch::read(const TokenState& state, TokenId token) {
  if (vocabulary_->special(token)) return recognizer().step_special(state.position, token);
  std::string_view bytes = vocabulary_->bytes(token);
  if (bytes.empty()) return {};
  if (state.first && vocabulary_->drops_first_space() && bytes.front() == ' ') {
    bytes.remove_prefix(1);
  }
  Position position = state.position;
  for (const char byte : bytes) {
    position = recognizer().step(position, static_cast<std::uint8_t>(byte));
    if (position.dead()) break;
  }
  return position;
}

// Only those who hold recognizer_mutex_ write, so looking takes no other lock.
const TokenState* ConstraintEpoch::state_at(Position position) {
  const auto found = by_position_.find(position);
  if (found != by_position_.end()) return found->second;
  const bool accepting = recognizer().accepting(position);
  const bool finished = recognizer().finished(position);
  const std::unique_lock lock(states_mutex_);
  TokenState& state = states_.emplace_back();
  state.position = position;
  state.accepting = accepting;
  state.finished = finished;
  by_position_.emplace(position, &state);
  return &state;
}

const MaskStore::Mask* ConstraintEpoch::mask(const TokenState& state, std::uint64_t fuel) {
  if (const MaskStore::Mask* known = state.mask.load(std::memory_order_acquire)) return known;
  const std::lock_guard lock(recognizer_mutex_);
  try {
    compiled_->fuel.refill(fuel);
    const MaskStore::Mask* mask = known_mask(state);
    if (!mask) {
      const MaskStore::Key key{recognizer().mask_key(state.position), state.accepting};
      mask = state.first && vocabulary_->drops_first_space() ? masks_.add_unkeyed(make_mask(state))
                                                             : masks_.add(key, make_mask(state));
      count_bytes();
    }
    state.mask.store(mask, std::memory_order_release);
    return mask;
  } catch (const FuelExhausted&) {
    return nullptr;
  }
}

const MaskStore::Mask* ConstraintEpoch::ready_mask(const TokenState& state) {
  if (const MaskStore::Mask* known = state.mask.load(std::memory_order_acquire)) return known;
  const std::unique_lock lock(recognizer_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return nullptr;
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    const MaskStore::Mask* mask = known_mask(state);
    if (mask) state.mask.store(mask, std::memory_order_release);
    return mask;
  } catch (const FuelExhausted&) {
    return nullptr;
  }
}

const MaskStore::Mask* ConstraintEpoch::known_mask(const TokenState& state) {
  if (state.first && vocabulary_->drops_first_space()) return nullptr;
  return masks_.find({recognizer().mask_key(state.position), state.accepting});
}

const TokenMask& ConstraintEpoch::make_mask(const TokenState& state) {
  made_.clear();
  recognizer().fill(state.position, *vocabulary_, made_);
  if (state.first && vocabulary_->drops_first_space()) add_after_first_space(state, made_);
  recognizer().add_special(state.position, made_);
  if (state.accepting) {
    for (const TokenId id : vocabulary_->end_tokens()) made_.set(id);
  }
  return made_;
}

// Tokens that begin with a space mean what follows it, at the very beginning of a text.
void ConstraintEpoch::add_after_first_space(const TokenState& state, TokenMask& mask) {
  const RankedTrie& trie = vocabulary_->trie();
  for (const RankedTrie::Node& node : trie.children(trie[RankedTrie::kRoot])) {
    if (node.byte != ' ') continue;
    for (std::uint32_t rank = node.rank; rank < node.rank_end; ++rank) {
      mask.clear(vocabulary_->ids()[rank]);
    }
    for (std::uint32_t rank = node.rank; rank < trie.own_end(node); ++rank) {
      mask.set(vocabulary_->ids()[rank]);
    }
    walk_.fill_below(recognizer(), trie.index(node), state.position, *vocabulary_, mask);
  }
}

const ForcedBytes& ConstraintEpoch::forced(const TokenState& state) {
  if (const ForcedBytes* known = state.forced.load(std::memory_order_acquire)) return *known;
  const std::lock_guard lock(recognizer_mutex_);
  ForcedBytes forced{.bytes = {}, .end = state.position, .ends = false};
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    while (forced.bytes.size() < kMaxForcedBytes) {
      const std::optional<std::uint8_t> byte = recognizer().forced(forced.end);
      if (!byte) break;
      const Position next = recognizer().step(forced.end, *byte);
      if (next.dead()) break;
      forced.bytes += static_cast<char>(*byte);
      forced.end = next;
    }
    forced.ends = recognizer().finished(forced.end);
  } catch (const FuelExhausted&) {
    forced.bytes.clear();
  }
  static const ForcedBytes kNone;
  const ForcedBytes* kept = &kNone;
  if (!forced.bytes.empty()) {
    forced_bytes_ += sizeof forced + forced.bytes.capacity();
    kept = &forced_.emplace_back(std::move(forced));
  }
  state.forced.store(kept, std::memory_order_release);
  return *kept;
}

bool ConstraintEpoch::continues(Position position, std::string_view text) {
  const RankedTrie& trie = vocabulary_->trie();
  const RankedTrie::Node* node = &trie[RankedTrie::kRoot];
  for (const char byte : text) {
    const auto children = trie.children(*node);
    const auto child = std::find_if(children.begin(), children.end(), [byte](const auto& c) {
      return c.byte == static_cast<std::uint8_t>(byte);
    });
    if (child == children.end()) return false;
    node = &*child;
  }
  const std::lock_guard lock(recognizer_mutex_);
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    return has_live_token(position, *node);
  } catch (const FuelExhausted&) {
    return true;
  }
}

bool ConstraintEpoch::has_live_token(Position position, const RankedTrie::Node& node) {
  const RankedTrie& trie = vocabulary_->trie();
  struct Open {
    const RankedTrie::Node* node;
    Position position;
  };
  std::vector<Open> open = {{&node, position}};
  int steps = 0;
  while (!open.empty()) {
    const Open at = open.back();
    open.pop_back();
    for (const RankedTrie::Node& child : trie.children(*at.node)) {
      if (++steps > kMaxSearch) return true;
      const Position next = recognizer().step(at.position, child.byte);
      if (next.dead()) continue;
      if (trie.own_end(child) > child.rank) return true;
      open.push_back({&child, next});
    }
  }
  return false;
}

std::string ConstraintEpoch::shortest_rest(const TokenState& state) {
  const std::lock_guard lock(recognizer_mutex_);
  try {
    compiled_->fuel.refill(limits_.mask_fuel);
    return recognizer().shortest_rest(state.position);
  } catch (const FuelExhausted&) {
    return {};
  }
}

// The recognizer's own count may take a while, so it is not asked every time.
void ConstraintEpoch::count_bytes() {
  if (until_count_-- > 0) return;
  until_count_ = kCountEvery;
  bytes_.store(recognizer().bytes() + masks_.bytes() + made_.words().size_bytes() + forced_bytes_ +
                   states_.size() * kStateBytes + edges_.capacity() * sizeof(Edge) +
                   edge_index_.bytes(),
               std::memory_order_relaxed);
}

}  // namespace tessera::guided
