#include "engine/guided/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/guided/code_point_trie.hpp"
#include "engine/guided/token_classes.hpp"
#include "engine/guided/token_slice.hpp"
#include "storage/mutex.hpp"

namespace tessera::guided {
namespace {

// A token while the tokens are being sorted. `head`: its first eight bytes, the first of them the
// most significant, so that most comparisons are of two numbers.
struct SortedToken {
  std::uint64_t head = 0;
  std::string_view bytes;
  TokenId id = 0;

  bool operator<(const SortedToken& other) const {
    if (head != other.head) return head < other.head;
    const int order = bytes.compare(other.bytes);
    return order != 0 ? order < 0 : id < other.id;
  }
};

std::uint64_t head_of(std::string_view bytes) {
  std::uint64_t head = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i) {
    head |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (56 - 8 * i);
  }
  return head;
}

std::vector<SortedToken> sort_tokens(const VocabularyTokens& tokens) {
  std::vector<SortedToken> sorted;
  const std::size_t count =
      std::min(tokens.bytes.size(), static_cast<std::size_t>(tokens.vocab_size));
  sorted.reserve(count);
  for (std::size_t id = 0; id < count; ++id) {
    const std::string& bytes = tokens.bytes[id];
    if (bytes.empty() || bytes.size() > Vocabulary::kMaxTokenBytes) continue;
    if (id < tokens.special.size() && tokens.special[id]) continue;
    sorted.push_back({head_of(bytes), bytes, static_cast<TokenId>(id)});
  }
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

std::uint64_t hash_of(std::uint32_t node, const CodePointSet& set, std::optional<Escapes> escapes) {
  std::uint64_t hash = node * 0x9E3779B97F4A7C15U + 1;
  if (escapes) hash += 2 + static_cast<std::uint64_t>(*escapes);
  for (const CodePointSet::Range& range : set.ranges()) {
    hash ^= (std::uint64_t{range.begin} << 32U) | range.end;
    hash = std::rotl(hash * 0xBF58476D1CE4E5B9U, 29) * 0x94D049BB133111EBU;
  }
  return hash;
}

std::uint64_t hash_of(const Partition& classes, bool quoted) {
  std::uint64_t hash = quoted ? 2 : 1;
  const auto add = [&hash](std::uint64_t value) {
    hash = std::rotl((hash ^ value) * 0xBF58476D1CE4E5B9U, 29) * 0x94D049BB133111EBU;
  };
  for (const std::uint8_t of : classes.ascii) add(of);
  for (const Partition::Span& span : classes.beyond)
    add((std::uint64_t{span.begin} << 32U) | span.of);
  return hash;
}

// What was made, by its content, the least recently used dropped first.
template <class Made>
class Shelf {
 public:
  explicit Shelf(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  template <class Is, class Make>
  std::shared_ptr<const Made> get(std::uint64_t hash, Making making, const Is& is,
                                  const Make& make) {
    const MutexLock lock(mutex_);
    auto found = by_hash_.find(hash);
    if (found != by_hash_.end() && is(*found->second.made)) {
      recent_.splice(recent_.begin(), recent_, found->second.place);
      return found->second.made;
    }
    if (making == Making::kNever) return nullptr;
    if (making == Making::kSecondTime && is_first(hash)) return nullptr;
    std::shared_ptr<const Made> made = make();
    if (found != by_hash_.end()) drop(found->second.place);  // another content of the same hash
    make_room();
    recent_.push_front(hash);
    by_hash_[hash] = {made, recent_.begin()};
    return made;
  }

 private:
  struct Entry {
    std::shared_ptr<const Made> made;
    std::list<std::uint64_t>::iterator place;
  };

  // Whether it was not asked for before, as far as that is remembered.
  bool is_first(std::uint64_t hash) TESSERA_REQUIRES(mutex_) {
    if (asked_.size() >= kMostAsked) asked_.clear();
    return asked_.insert(hash).second;
  }
  void drop(std::list<std::uint64_t>::iterator place) TESSERA_REQUIRES(mutex_) {
    by_hash_.erase(*place);
    recent_.erase(place);
  }
  // Slices grow after they were made, so sizes are asked for anew.
  void make_room() TESSERA_REQUIRES(mutex_) {
    std::size_t bytes = 0;
    for (const auto& [hash, entry] : by_hash_) bytes += entry.made->bytes();
    while (bytes > max_bytes_ && !recent_.empty()) {
      bytes -= by_hash_.at(recent_.back()).made->bytes();
      drop(std::prev(recent_.end()));
    }
  }

  static constexpr std::size_t kMostAsked = 4'096;

  const std::size_t max_bytes_;
  Mutex mutex_;
  std::unordered_set<std::uint64_t> asked_
      TESSERA_GUARDED_BY(mutex_);  // hashes of what is not made
  std::unordered_map<std::uint64_t, Entry> by_hash_ TESSERA_GUARDED_BY(mutex_);
  std::list<std::uint64_t> recent_ TESSERA_GUARDED_BY(mutex_);  // hashes, the latest first
};

std::vector<MaskWord> sparse(const TokenMask& mask) {
  std::vector<MaskWord> words;
  for (std::uint32_t i = 0; i < mask.words().size(); ++i) {
    if (mask.words()[i] != 0) words.push_back({i, mask.words()[i]});
  }
  return words;
}

}  // namespace

struct Vocabulary::Impl {
  explicit Impl(VocabularyTokens given)
      : tokens(std::move(given)), trie(std::span<const std::string_view>{}) {}

  void sort();
  void index_bytes();
  void index_quotes();

  VocabularyTokens tokens;
  std::string arena;                  // the tokens' bytes, by rank
  std::vector<std::uint32_t> begins;  // in the arena, by rank; one more at the end
  std::vector<std::uint16_t> alike;   // by rank
  std::vector<TokenId> ids;           // by rank
  std::vector<std::string_view> by_id;
  RankedTrie trie;
  std::array<std::uint32_t, 257> containing_begins{};
  std::vector<std::uint32_t> containing;  // ranks
  std::vector<MaskWord> behind_quotes;
  std::vector<MaskWord> three_quotes;
  std::vector<MaskWord> five_quotes;
  std::size_t longest_second_name = 0;
  std::vector<bool> is_end;
  std::size_t longest = 0;
  std::optional<CodePointTrie> quoted;
  std::optional<CodePointTrie> unquoted;  // made when first asked for
  std::once_flag unquoted_made;
  Shelf<TokenSlice> slices{kMaxSliceBytes};
  Shelf<TokenClasses> classes{kMaxClassesBytes};
};

void Vocabulary::Impl::sort() {
  const std::vector<SortedToken> sorted = sort_tokens(tokens);
  std::vector<std::string_view> views;
  views.reserve(sorted.size());
  for (const SortedToken& token : sorted) {
    begins.push_back(static_cast<std::uint32_t>(arena.size()));
    arena += token.bytes;
    const std::string_view before = views.empty() ? std::string_view() : views.back();
    const auto differs = std::ranges::mismatch(before, token.bytes).in2;
    alike.push_back(static_cast<std::uint16_t>(differs - token.bytes.begin()));
    ids.push_back(token.id);
    views.push_back(token.bytes);
    longest = std::max(longest, token.bytes.size());
  }
  begins.push_back(static_cast<std::uint32_t>(arena.size()));
  by_id.resize(static_cast<std::size_t>(tokens.vocab_size));
  for (std::size_t rank = 0; rank < ids.size(); ++rank) {
    by_id[static_cast<std::size_t>(ids[rank])] =
        std::string_view(arena).substr(begins[rank], begins[rank + 1] - begins[rank]);
  }
  trie = RankedTrie(views);
}

// Calls `visit(rank, byte)` once for each byte that occurs in a token.
template <class Visit>
void for_each_byte(std::string_view arena, std::span<const std::uint32_t> begins, Visit visit) {
  std::array<std::uint32_t, 256> seen{};  // rank + 1 of the last token with that byte
  for (std::uint32_t rank = 0; rank + 1 < begins.size(); ++rank) {
    for (std::uint32_t i = begins[rank]; i < begins[rank + 1]; ++i) {
      const auto byte = static_cast<std::uint8_t>(arena[i]);
      if (seen[byte] == rank + 1) continue;
      seen[byte] = rank + 1;
      visit(rank, byte);
    }
  }
}

void Vocabulary::Impl::index_bytes() {
  for_each_byte(arena, begins, [&](std::uint32_t, std::uint8_t byte) {
    ++containing_begins[std::size_t{byte} + 1];
  });
  for (std::size_t i = 1; i < containing_begins.size(); ++i) {
    containing_begins[i] += containing_begins[i - 1];
  }
  containing.resize(containing_begins.back());
  std::array<std::uint32_t, 257> next = containing_begins;
  for_each_byte(arena, begins,
                [&](std::uint32_t rank, std::uint8_t byte) { containing[next[byte]++] = rank; });
}

void Vocabulary::Impl::index_quotes() {
  TokenMask behind(tokens.vocab_size);
  TokenMask three(tokens.vocab_size);
  TokenMask five(tokens.vocab_size);
  for (std::uint32_t i = containing_begins['"']; i < containing_begins['"' + 1]; ++i) {
    const std::uint32_t rank = containing[i];
    const std::string_view bytes =
        std::string_view(arena).substr(begins[rank], begins[rank + 1] - begins[rank]);
    if (bytes.find('"') + 1 < bytes.size()) behind.set(ids[rank]);
    const auto quotes = std::ranges::count(bytes, '"');
    if (quotes < 3) continue;
    three.set(ids[rank]);
    if (quotes >= 5) five.set(ids[rank]);
    const std::size_t second = bytes.find('"', bytes.find('"') + 1);
    longest_second_name = std::max(longest_second_name, bytes.rfind('"') - second - 1);
  }
  behind_quotes = sparse(behind);
  three_quotes = sparse(three);
  five_quotes = sparse(five);
}

Vocabulary::Vocabulary(VocabularyTokens tokens) : impl_(std::make_unique<Impl>(std::move(tokens))) {
  impl_->sort();
  impl_->index_bytes();
  impl_->index_quotes();
  std::vector<TokenId>& ends = impl_->tokens.end_tokens;
  std::erase_if(ends, [this](TokenId id) { return id < 0 || id >= vocab_size(); });
  impl_->is_end.resize(static_cast<std::size_t>(vocab_size()));
  for (const TokenId id : ends) impl_->is_end[static_cast<std::size_t>(id)] = true;
  make_string_slice();
  impl_->quoted.emplace(*this, true);
}

// What nearly every constraint asks for, so that no mask has to wait for it.
void Vocabulary::make_string_slice() {
  const auto strings = slice(RankedTrie::kRoot, raw_characters(), Escapes::kJson);
  TokenMask mask(vocab_size());
  strings->add_members(TokenSlice::kUnlimited, mask);
  strings->suffixes('"');
}

Vocabulary::~Vocabulary() = default;

int Vocabulary::vocab_size() const {
  return impl_->tokens.vocab_size;
}

std::string_view Vocabulary::bytes(TokenId id) const {
  const auto index = static_cast<std::size_t>(id);
  return index < impl_->by_id.size() ? impl_->by_id[index] : std::string_view();
}

bool Vocabulary::special(TokenId id) const {
  const auto index = static_cast<std::size_t>(id);
  return id >= 0 && index < impl_->tokens.special.size() && impl_->tokens.special[index];
}

std::span<const TokenId> Vocabulary::end_tokens() const {
  return impl_->tokens.end_tokens;
}

bool Vocabulary::is_end(TokenId id) const {
  return id >= 0 && id < vocab_size() && impl_->is_end[static_cast<std::size_t>(id)];
}

bool Vocabulary::drops_first_space() const {
  return impl_->tokens.drops_first_space;
}

std::size_t Vocabulary::longest_token() const {
  return impl_->longest;
}

std::vector<TokenId> Vocabulary::encode(std::string_view text) const {
  return impl_->tokens.encode ? impl_->tokens.encode(text) : std::vector<TokenId>{};
}

const RankedTrie& Vocabulary::trie() const {
  return impl_->trie;
}

std::span<const TokenId> Vocabulary::ids() const {
  return impl_->ids;
}

SortedTokens Vocabulary::sorted() const {
  return {impl_->ids, impl_->alike, impl_->begins, impl_->arena.data()};
}

std::string_view Vocabulary::bytes_at(std::uint32_t rank) const {
  const std::uint32_t begin = impl_->begins[rank];
  return std::string_view(impl_->arena).substr(begin, impl_->begins[rank + 1] - begin);
}

std::size_t Vocabulary::alike(std::uint32_t rank) const {
  return impl_->alike[rank];
}

std::span<const std::uint32_t> Vocabulary::containing(std::uint8_t byte) const {
  const std::uint32_t begin = impl_->containing_begins[byte];
  const std::uint32_t end = impl_->containing_begins[std::size_t{byte} + 1];
  return {impl_->containing.data() + begin, end - begin};
}

std::span<const MaskWord> Vocabulary::behind_quotes() const {
  return impl_->behind_quotes;
}

std::span<const MaskWord> Vocabulary::three_quotes() const {
  return impl_->three_quotes;
}

std::span<const MaskWord> Vocabulary::five_quotes() const {
  return impl_->five_quotes;
}

std::size_t Vocabulary::longest_second_name() const {
  return impl_->longest_second_name;
}

const CodePointTrie& Vocabulary::code_points(bool quoted) const {
  if (quoted) return *impl_->quoted;
  std::call_once(impl_->unquoted_made, [this] { impl_->unquoted.emplace(*this, false); });
  return *impl_->unquoted;
}

std::shared_ptr<const TokenSlice> Vocabulary::slice(std::uint32_t node, const CodePointSet& set,
                                                    std::optional<Escapes> escapes,
                                                    Making making) const {
  return impl_->slices.get(
      hash_of(node, set, escapes), making,
      [&](const TokenSlice& slice) { return slice.is(node, set, escapes); },
      [&] { return std::make_shared<const TokenSlice>(*this, node, set, escapes); });
}

std::shared_ptr<const TokenClasses> Vocabulary::classes(const Partition& classes, bool quoted,
                                                        Making making) const {
  const std::uint64_t hash = hash_of(classes, quoted);
  return impl_->classes.get(
      hash, making, [&](const TokenClasses& made) { return made.is(classes, quoted); },
      [&] { return std::make_shared<const TokenClasses>(*this, classes, quoted); });
}

}  // namespace tessera::guided
