#include "engine/guided/token_slice.hpp"

#include <algorithm>
#include <tuple>

#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

// Fewer members than this are set one by one, more are or-ed as a mask.
constexpr std::size_t kDenseFrom = 1024;
// Which others leave at which byte is remembered for so many.
constexpr std::size_t kMostOthers = 16'384;
// A child with so many tokens below it is left to the walk.
constexpr std::uint32_t kApartFrom = 4'096;

template <class Made, class Make>
const Made& once(std::atomic<const Made*>& place, Mutex& mutex, Make make) {
  if (const Made* made = place.load(std::memory_order_acquire)) return *made;
  const MutexLock lock(mutex);
  if (const Made* made = place.load(std::memory_order_acquire)) return *made;
  std::unique_ptr<const Made> made = make();
  place.store(made.get(), std::memory_order_release);
  return *made.release();
}

// The bytes with which a code point beyond ASCII may begin.
constexpr std::uint8_t kFirstLead = 0xC2;
constexpr std::uint8_t kLastLead = 0xF4;

// Whether some code point that begins with these bytes, not yet all of its own, is in the set.
bool may_complete(const CodePointSet& set, std::string_view bytes) {
  const auto lead = static_cast<std::uint8_t>(bytes.front());
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t bits = lead & (0x7FU >> length);
  for (const char byte : bytes.substr(1)) {
    bits = bits << 6U | (static_cast<std::uint8_t>(byte) & 0x3FU);
  }
  const auto left = static_cast<unsigned>(6 * (length - bytes.size()));
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  CodePointSet range;
  const char32_t begin = std::max<char32_t>(bits << left, kLeast[length]);
  const char32_t end = std::min<char32_t>((bits + 1) << left, kCodePointEnd);
  constexpr char32_t kSurrogates = 0xD800;
  constexpr char32_t kSurrogatesEnd = 0xE000;
  if (begin < kSurrogates) range.add(begin, std::min(end, kSurrogates));
  if (end > kSurrogatesEnd) range.add(std::max(begin, kSurrogatesEnd), end);
  return !range.intersection(set).empty();
}

}  // namespace

TokenSlice::TokenSlice(const Vocabulary& vocabulary, std::uint32_t node, const CodePointSet& set,
                       std::optional<Escapes> escapes)
    : vocabulary_(vocabulary),
      node_(node),
      depth_(vocabulary.trie().depth(node)),
      set_(set),
      escapes_(escapes) {
  if (!set_.empty()) append_utf8(sample_, set_.ranges().front().begin);
  find_apart();
  classify();
  masks_ = std::vector<std::atomic<const TokenMask*>>(members_end_.size());
  bytes_ = sizeof *this + members_.size() * sizeof(TokenId) + masks_.size() * 12 +
           set_.ranges().size_bytes() + others_.size() * sizeof(Other);
}

TokenSlice::~TokenSlice() {
  for (auto& suffixes : suffixes_) delete suffixes.load();
  for (auto& mask : masks_) delete mask.load();
  delete residual_.load();
}

// The longest prefix that is code points of the set, the last of them perhaps not yet whole.
TokenSlice::Reach TokenSlice::reach(std::string_view text, Reach reach) const {
  while (reach.bytes < text.size()) {
    const auto byte = static_cast<std::uint8_t>(text[reach.bytes]);
    std::size_t length = 1;
    if (byte == '\\' && escapes_) {
      if (!read_escape(text, reach)) break;
      continue;
    }
    if (byte < 0x80) {
      if (!set_.contains(byte)) break;
    } else {
      const Utf8Step step = utf8_step(text.substr(reach.bytes));
      if (step.kind == Utf8Step::Kind::kInvalid) break;
      const bool inside = step.kind == Utf8Step::Kind::kValid
                              ? set_.contains(step.code_point)
                              : may_complete(set_, text.substr(reach.bytes));
      if (!inside) break;
      length = step.bytes;
    }
    reach.bytes += length;
    ++reach.code_points;
  }
  return reach;
}

// What of a token is read already, as `before` of the one before it: where each byte was a code
// point, and the last is whole.
TokenSlice::Reach TokenSlice::common(std::string_view text, const Reach& before,
                                     std::size_t alike) const {
  if (before.bytes != before.code_points || alike <= depth_) return {};
  const std::size_t bytes = std::min(alike - depth_, before.bytes);
  if (bytes == 0 || static_cast<std::uint8_t>(text[bytes - 1]) >= 0x80 || text[bytes - 1] == '\\') {
    return {};
  }
  return {bytes, static_cast<std::uint32_t>(bytes), false};
}

// A backslash and what belongs to it, as far as the text goes.
bool TokenSlice::read_escape(std::string_view text, Reach& reach) const {
  AnyText any;
  BasicStringLexer<AnyText> lexer(any, *escapes_);
  StringState state{.text = 1, .pending = 0};
  std::size_t at = reach.bytes;
  do {
    state = lexer.step(state, static_cast<std::uint8_t>(text[at++]));
    reach.dead = state.dead();
  } while (!reach.dead && state.pending != 0 && at < text.size());
  if (reach.dead) return false;
  reach.bytes = at;
  ++reach.code_points;
  return true;
}

std::string_view TokenSlice::rest(std::uint32_t rank) const {
  return vocabulary_.bytes_at(rank).substr(depth_);
}

void TokenSlice::find_apart() {
  const RankedTrie& trie = vocabulary_.trie();
  for (const RankedTrie::Node& child : trie.children(trie[node_])) {
    if (child.byte >= 0x80 || set_.contains(child.byte)) continue;
    if (child.byte == '\\' && escapes_) continue;
    if (child.rank_end - child.rank >= kApartFrom) apart_.push_back(trie.index(child));
  }
}

bool TokenSlice::is_apart(std::uint8_t byte) const {
  return std::any_of(apart_.begin(), apart_.end(),
                     [&](std::uint32_t child) { return vocabulary_.trie()[child].byte == byte; });
}

// The node's own tokens are not part of the slice: whoever walked there has dealt with them.
void TokenSlice::classify() {
  const RankedTrie& trie = vocabulary_.trie();
  const RankedTrie::Node& node = trie[node_];
  const SortedTokens tokens = vocabulary_.sorted();
  std::vector<std::vector<TokenId>> by_count;
  std::array<bool, 256> is_break{};
  Reach reached;
  for (std::uint32_t rank = trie.own_end(node); rank < node.rank_end; ++rank) {
    const std::string_view text = tokens.bytes_at(rank).substr(depth_);
    reached = reach(text, common(text, reached, tokens.alike[rank]));
    if (reached.bytes == text.size()) {
      if (by_count.size() <= reached.code_points) by_count.resize(reached.code_points + 1);
      by_count[reached.code_points].push_back(tokens.ids[rank]);
      continue;
    }
    ++num_others_;
    if (reached.dead) continue;
    const auto byte = static_cast<std::uint8_t>(text[reached.bytes]);
    if (byte >= 0x80 && (byte < kFirstLead || byte > kLastLead)) continue;  // never alive here
    if (reached.bytes == 0 && is_apart(byte)) continue;
    if (others_.size() <= kMostOthers) others_.push_back({rank, byte});
    is_break[byte] = true;
    max_prefix_[byte] = std::max(max_prefix_[byte], reached.code_points);
    deepest_prefix_ = std::max(deepest_prefix_, reached.code_points);
  }
  if (others_.size() > kMostOthers) others_ = {};
  std::stable_sort(others_.begin(), others_.end(),
                   [](const Other& a, const Other& b) { return a.byte < b.byte; });
  for (const std::vector<TokenId>& ids : by_count) {
    members_.insert(members_.end(), ids.begin(), ids.end());
    members_end_.push_back(static_cast<std::uint32_t>(members_.size()));
  }
  for (std::size_t byte = 0; byte < is_break.size(); ++byte) {
    if (is_break[byte]) breaks_.push_back(static_cast<std::uint8_t>(byte));
  }
}

void TokenSlice::add_members(std::uint32_t limit, TokenMask& mask) const {
  if (members_.empty()) return;
  limit = std::min(limit, static_cast<std::uint32_t>(members_end_.size() - 1));
  const std::size_t count = members_end_[limit];
  if (count >= kDenseFrom) {
    mask |= members_up_to(limit);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) mask.set(members_[i]);
}

const TokenMask& TokenSlice::members_up_to(std::uint32_t limit) const {
  return once(masks_[limit], mutex_, [&] {
    auto mask = std::make_unique<TokenMask>(vocabulary_.vocab_size());
    for (std::size_t i = 0; i < members_end_[limit]; ++i) mask->set(members_[i]);
    bytes_ += mask->words().size_bytes();
    return std::unique_ptr<const TokenMask>(std::move(mask));
  });
}

const TokenSuffixes& TokenSlice::suffixes(std::uint8_t byte) const {
  return once(suffixes_[byte], mutex_, [&] { return collect(byte); });
}

const TokenSubset& TokenSlice::residual() const {
  return once(residual_, mutex_, [&] { return collect_residual(); });
}

// Tokens below the node that may leave the loop at `byte`, those that do among them.
void TokenSlice::collect_others(std::uint8_t byte, std::vector<std::uint32_t>& ranks) const {
  if (!others_.empty()) {
    const auto [first, last] =
        std::equal_range(others_.begin(), others_.end(), Other{0, byte},
                         [](const Other& a, const Other& b) { return a.byte < b.byte; });
    for (auto other = first; other != last; ++other) ranks.push_back(other->rank);
    return;
  }
  const RankedTrie& trie = vocabulary_.trie();
  const std::span<const std::uint32_t> all = vocabulary_.containing(byte);
  const auto first = std::lower_bound(all.begin(), all.end(), trie.own_end(trie[node_]));
  ranks.assign(first, std::lower_bound(first, all.end(), trie[node_].rank_end));
}

std::unique_ptr<const TokenSuffixes> TokenSlice::collect(std::uint8_t byte) const {
  struct Found {
    std::string_view suffix;  // behind the byte
    std::uint32_t prefix;
    TokenId id;

    bool operator<(const Found& other) const {
      return std::tie(suffix, prefix, id) < std::tie(other.suffix, other.prefix, other.id);
    }
  };
  const bool apart = is_apart(byte);
  std::vector<std::uint32_t> ranks;
  collect_others(byte, ranks);
  std::vector<Found> found;
  for (const std::uint32_t rank : ranks) {
    const std::string_view text = rest(rank);
    const Reach reached = reach(text);
    if (reached.bytes == text.size() || reached.dead) continue;
    if (static_cast<std::uint8_t>(text[reached.bytes]) != byte) continue;
    if (apart && reached.bytes == 0) continue;
    found.push_back({text.substr(reached.bytes + 1), reached.code_points, vocabulary_.ids()[rank]});
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string_view> texts;
  for (const Found& token : found) texts.push_back(token.suffix);
  auto suffixes = std::make_unique<TokenSuffixes>(TokenSuffixes{RankedTrie(texts), {}, {}});
  for (const Found& token : found) suffixes->tokens.push_back({token.id, token.prefix});
  for (std::uint32_t node = 0; node < suffixes->trie.num_nodes(); ++node) {
    TokenSuffixes::Span span{.min_prefix = kUnlimited, .max_prefix = 0};
    for (auto rank = suffixes->trie[node].rank; rank < suffixes->trie[node].rank_end; ++rank) {
      span.min_prefix = std::min(span.min_prefix, found[rank].prefix);
      span.max_prefix = std::max(span.max_prefix, found[rank].prefix);
    }
    suffixes->spans.push_back(span);
  }
  bytes_ += sizeof *suffixes + suffixes->trie.bytes() +
            suffixes->tokens.size() * sizeof(TokenSuffixes::Token) +
            suffixes->spans.size() * sizeof(TokenSuffixes::Span);
  return suffixes;
}

std::unique_ptr<const TokenSubset> TokenSlice::collect_residual() const {
  const RankedTrie& trie = vocabulary_.trie();
  const RankedTrie::Node& node = trie[node_];
  std::vector<std::string_view> texts;
  std::vector<TokenId> ids;
  for (std::uint32_t rank = trie.own_end(node); rank < node.rank_end; ++rank) {
    const std::string_view text = rest(rank);
    if (reach(text).bytes == text.size()) continue;
    texts.push_back(text);
    ids.push_back(vocabulary_.ids()[rank]);
  }
  auto subset = std::make_unique<TokenSubset>(TokenSubset{RankedTrie(texts), std::move(ids)});
  bytes_ += sizeof *subset + subset->trie.bytes() + subset->ids.size() * sizeof(TokenId);
  return subset;
}

}  // namespace tessera::guided
