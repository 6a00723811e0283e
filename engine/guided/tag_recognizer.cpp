#include "engine/guided/tag_recognizer.hpp"

#include <algorithm>
#include <utility>

#include "engine/guided/earley_lexer.hpp"
#include "engine/guided/free_text_tokens.hpp"
#include "engine/guided/hash_index.hpp"
#include "engine/guided/tag_set.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/token_walk.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {
namespace {

using PlaceId = std::uint32_t;

// One reading of the text so far.
struct Thread {
  enum class Kind : std::uint8_t {
    kFree,       // free text; index: the state of the triggers
    kBetween,    // where a tag may begin or the text may end, if there is no free text
    kBegin,      // in the begin of a tag; index: the node
    kBody,       // index: the tag; body: where in its body
    kEnd,        // index: the tag; offset: bytes of its end that were read
    kSeparator,  // between two tags; offset: bytes of it that were read
    kDone,       // nothing may follow
  };

  Kind kind = Kind::kFree;
  bool seen = false;  // a tag is complete
  std::uint32_t index = 0;
  std::uint32_t offset = 0;
  Position body = {};

  bool operator==(const Thread&) const = default;
};
using Kind = Thread::Kind;

std::uint64_t hash_of(const Thread& thread) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(thread.kind), thread.seen ? 1 : 0);
  hash = mix(mix(hash, thread.index), thread.offset);
  hash = mix(hash, std::uint64_t{thread.body.node} << 32U | thread.body.mode);
  return mix(hash, thread.body.lex);
}

// A place is the set of all readings; it steps by one look-up once it has stepped before.
class TagRecognizer final : public Recognizer {
 public:
  TagRecognizer(const TagRules& rules, std::unique_ptr<TagSet> tags,
                std::vector<TokenId> free_tokens, Fuel& fuel, const GuidedLimits& limits);

  Position start() override { return {.node = start_}; }
  Position step(Position position, std::uint8_t byte) override {
    const std::uint32_t known = table_.get(places_[position.node].next, byte);
    return {.node = known != ByteTable::kUnknown ? known : step_first(position.node, byte)};
  }
  Position step_special(Position position, TokenId token) override;
  void add_special(Position position, TokenMask& mask) override;
  bool accepting(Position position) override { return places_[position.node].accepting; }
  bool finished(Position position) override { return places_[position.node].finished; }
  MaskKey mask_key(Position position) override;
  ByteLoop loop(Position position) override;
  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override;
  std::optional<std::uint8_t> forced(Position position) override;
  std::string shortest_rest(Position position) override;
  std::size_t bytes() const override;

 private:
  static constexpr PlaceId kDead = 0;

  struct Place {
    std::vector<Thread> threads;  // in the order in which they came about, none twice
    bool accepting = false;
    bool finished = false;
    ByteTable::Row next = {};
  };
  struct BodyKey {
    TagIndex tag;
    bool seen;
    bool ends;
    MaskKey body;

    bool operator==(const BodyKey&) const = default;
  };
  using Threads = std::vector<Thread>;

  PlaceId step_first(PlaceId place, std::uint8_t byte);
  void step_thread(const Thread& thread, std::uint8_t byte, Threads& out);
  void add(const Thread& thread, Threads& out);
  void add_begin(std::uint32_t node, bool seen, Threads& out);
  void add_body(TagIndex tag, Position body, bool seen, Threads& out);
  void add_end(TagIndex tag, std::uint32_t offset, bool seen, Threads& out);
  void add_after_tag(Threads& out);
  bool may_end(const Thread& thread) const;
  PlaceId intern(Threads threads);
  bool takes_begin_token(const Thread& thread) const;
  const Thread* only_body(const Place& place) const;
  void fill_past_body(PlaceId place, const Vocabulary& vocabulary, TokenMask& mask);
  std::optional<std::uint8_t> forced(const Thread& thread);
  std::string rest_of(const Thread& thread);
  std::string body_and_end(TagIndex tag, Position body);
  std::string rest_of_begin(std::uint32_t node);
  std::string rest_of_free(PlaceId place, std::size_t read);

  const bool at_least_one_;
  const bool stop_after_first_;
  const bool free_text_;
  const std::string separator_;
  std::unique_ptr<TagSet> tags_;
  std::vector<TokenId> free_tokens_;  // sorted
  Fuel& fuel_;
  std::size_t max_threads_;
  std::vector<Place> places_;
  HashIndex index_;
  ByteTable table_;
  std::vector<BodyKey> body_keys_;
  HashIndex body_key_index_;
  std::size_t thread_bytes_ = 0;
  PlaceId start_ = kDead;
  TokenWalk<TagRecognizer> walk_;
};

TagRecognizer::TagRecognizer(const TagRules& rules, std::unique_ptr<TagSet> tags,
                             std::vector<TokenId> free_tokens, Fuel& fuel,
                             const GuidedLimits& limits)
    : at_least_one_(rules.at_least_one),
      stop_after_first_(rules.stop_after_first),
      free_text_(rules.free_text),
      separator_(rules.separator),
      tags_(std::move(tags)),
      free_tokens_(std::move(free_tokens)),
      fuel_(fuel),
      max_threads_(static_cast<std::size_t>(limits.max_earley_items)),
      places_(1) {
  std::erase_if(free_tokens_,
                [&](TokenId token) { return tags_->root_of(token) != TagSet::kNoBegin; });
  std::ranges::sort(free_tokens_);
  start_ = intern({{.kind = free_text_ ? Kind::kFree : Kind::kBetween}});
}

void TagRecognizer::add(const Thread& thread, Threads& out) {
  fuel_.spend(1 + out.size() / 8);
  if (std::ranges::find(out, thread) != out.end()) return;
  if (out.size() >= max_threads_) throw FuelExhausted{};
  out.push_back(thread);
}

void TagRecognizer::add_begin(std::uint32_t node, bool seen, Threads& out) {
  const TagBegin& begin = tags_->begin(node);
  if (!begin.next.empty()) add({.kind = Kind::kBegin, .seen = seen, .index = node}, out);
  for (const TagIndex tag : begin.tags) add_body(tag, (*tags_)[tag].body->start(), seen, out);
}

void TagRecognizer::add_body(TagIndex tag, Position body, bool seen, Threads& out) {
  if (body.dead()) return;
  Recognizer& recognizer = *(*tags_)[tag].body;
  if (!recognizer.finished(body))
    add({.kind = Kind::kBody, .seen = seen, .index = tag, .body = body}, out);
  if (recognizer.accepting(body)) add_end(tag, 0, seen, out);
}

void TagRecognizer::add_end(TagIndex tag, std::uint32_t offset, bool seen, Threads& out) {
  const TagSet::Entry& entry = (*tags_)[tag];
  if (offset < entry.end.size() || entry.end_token) {
    add({.kind = Kind::kEnd, .seen = seen, .index = tag, .offset = offset}, out);
  } else {
    add_after_tag(out);
  }
}

void TagRecognizer::add_after_tag(Threads& out) {
  Thread after = {.kind = Kind::kBetween, .seen = true};
  if (free_text_) after.kind = Kind::kFree;
  if (!free_text_ && !separator_.empty()) after.kind = Kind::kSeparator;
  if (stop_after_first_) after.kind = Kind::kDone;
  add(after, out);
}

PlaceId TagRecognizer::step_first(PlaceId place, std::uint8_t byte) {
  Threads threads;
  for (const Thread& thread : places_[place].threads) step_thread(thread, byte, threads);
  const PlaceId next = intern(std::move(threads));
  table_.set(places_[place].next, byte, next);
  return next;
}

void TagRecognizer::step_thread(const Thread& thread, std::uint8_t byte, Threads& out) {
  fuel_.spend();
  switch (thread.kind) {
    case Kind::kFree: {
      const TagTriggers::State next = tags_->triggers().step(thread.index, byte);
      const auto found = tags_->triggers().found(next);
      if (found.empty()) add({.kind = Kind::kFree, .seen = thread.seen, .index = next}, out);
      for (const std::uint32_t trigger : found)
        add_begin(tags_->begin_of_trigger(trigger), thread.seen, out);
      break;
    }
    case Kind::kBetween:
    case Kind::kBegin: {
      const std::uint32_t from = thread.kind == Kind::kBegin ? thread.index : TagSet::kTextRoot;
      const std::uint32_t next = tags_->step(from, byte);
      if (next != TagSet::kNoBegin) add_begin(next, thread.seen, out);
      break;
    }
    case Kind::kBody:
      add_body(thread.index, (*tags_)[thread.index].body->step(thread.body, byte), thread.seen,
               out);
      break;
    case Kind::kEnd: {
      const std::string& end = (*tags_)[thread.index].end;
      if (thread.offset < end.size() && static_cast<std::uint8_t>(end[thread.offset]) == byte)
        add_end(thread.index, thread.offset + 1, thread.seen, out);
      break;
    }
    case Kind::kSeparator:
      if (static_cast<std::uint8_t>(separator_[thread.offset]) != byte) break;
      if (thread.offset + 1 < separator_.size()) {
        add({.kind = Kind::kSeparator, .seen = true, .offset = thread.offset + 1}, out);
      } else {
        add({.kind = Kind::kBegin, .seen = true, .index = TagSet::kTextRoot}, out);
      }
      break;
    case Kind::kDone:
      break;
  }
}

bool TagRecognizer::may_end(const Thread& thread) const {
  switch (thread.kind) {
    case Kind::kFree:
    case Kind::kBetween:
      return thread.seen || !at_least_one_;
    case Kind::kSeparator:
      return thread.offset == 0;
    case Kind::kDone:
      return true;
    case Kind::kBegin:
    case Kind::kBody:
    case Kind::kEnd:
      break;
  }
  return false;
}

PlaceId TagRecognizer::intern(Threads threads) {
  if (threads.empty()) return kDead;
  std::uint64_t hash = threads.size();
  for (const Thread& thread : threads) hash = mix(hash, hash_of(thread));
  const std::uint32_t known =
      index_.find(hash, [&](std::uint32_t i) { return places_[i].threads == threads; });
  if (known != HashIndex::kNone) return known;
  thread_bytes_ += threads.size() * sizeof(Thread);
  Place& place = places_.emplace_back();
  place.threads = std::move(threads);
  for (const Thread& thread : place.threads) place.accepting |= may_end(thread);
  place.finished = std::ranges::all_of(
      place.threads, [](const Thread& thread) { return thread.kind == Kind::kDone; });
  const auto id = static_cast<PlaceId>(places_.size() - 1);
  index_.insert(hash, id);
  return id;
}

// A tag that a special token opens may begin wherever any other may.
bool TagRecognizer::takes_begin_token(const Thread& thread) const {
  return thread.kind == Kind::kFree || thread.kind == Kind::kBetween ||
         (thread.kind == Kind::kBegin && thread.index == TagSet::kTextRoot);
}

Position TagRecognizer::step_special(Position position, TokenId token) {
  Threads out;
  const Threads threads = places_[position.node].threads;
  const std::uint32_t root = tags_->root_of(token);
  for (const Thread& thread : threads) {
    if (takes_begin_token(thread) && root != TagSet::kNoBegin) add_begin(root, thread.seen, out);
    if (thread.kind == Kind::kFree && std::ranges::binary_search(free_tokens_, token))
      add({.kind = Kind::kFree, .seen = thread.seen}, out);
    const bool in_tag = thread.kind == Kind::kBody || thread.kind == Kind::kEnd;
    if (!in_tag) continue;
    const TagSet::Entry& tag = (*tags_)[thread.index];
    if (thread.kind == Kind::kBody)
      add_body(thread.index, tag.body->step_special(thread.body, token), thread.seen, out);
    if (thread.kind == Kind::kEnd && thread.offset == tag.end.size() && tag.end_token == token)
      add_after_tag(out);
  }
  return {.node = intern(std::move(out))};
}

void TagRecognizer::add_special(Position position, TokenMask& mask) {
  for (const Thread& thread : places_[position.node].threads) {
    if (takes_begin_token(thread))
      for (const auto& [token, root] : tags_->token_roots()) mask.set(token);
    if (thread.kind == Kind::kFree)
      for (const TokenId token : free_tokens_) mask.set(token);
    const bool in_tag = thread.kind == Kind::kBody || thread.kind == Kind::kEnd;
    if (!in_tag) continue;
    const TagSet::Entry& tag = (*tags_)[thread.index];
    if (thread.kind == Kind::kBody) tag.body->add_special(thread.body, mask);
    if (thread.kind == Kind::kEnd && thread.offset == tag.end.size() && tag.end_token)
      mask.set(*tag.end_token);
  }
}

// The one thread in a body, where beside it there is at most that tag's end that may begin: then
// the body's own mask is the mask, but for the tokens that reach beyond the body.
const Thread* TagRecognizer::only_body(const Place& place) const {
  if (place.threads.size() > 2) return nullptr;
  const Thread& body = place.threads[0];
  if (body.kind != Kind::kBody) return nullptr;
  const TagSet::Entry& tag = (*tags_)[body.index];
  if (tag.end.empty() && !tag.end_token) return nullptr;
  if (place.threads.size() == 1) return &body;
  const Thread& end = place.threads[1];
  const bool its_own = end.kind == Kind::kEnd && end.index == body.index && end.offset == 0;
  return its_own ? &body : nullptr;
}

MaskKey TagRecognizer::mask_key(Position position) {
  const Place& place = places_[position.node];
  const Thread* body = only_body(place);
  if (body == nullptr) return {.high = 0, .low = position.node};
  const BodyKey key = {.tag = body->index,
                       .seen = body->seen,
                       .ends = place.threads.size() == 2,
                       .body = (*tags_)[body->index].body->mask_key(body->body)};
  std::uint64_t hash = mix(mix(key.body.high, key.body.low), key.tag);
  hash = mix(hash, (key.seen ? 1U : 0U) + (key.ends ? 2U : 0U));
  std::uint32_t id =
      body_key_index_.find(hash, [&](std::uint32_t i) { return body_keys_[i] == key; });
  if (id == HashIndex::kNone) {
    id = static_cast<std::uint32_t>(body_keys_.size());
    body_keys_.push_back(key);
    body_key_index_.insert(hash, id);
  }
  return {.high = 1, .low = id};
}

ByteLoop TagRecognizer::loop(Position position) {
  const Place& place = places_[position.node];
  if (place.threads.size() != 1) return {};
  const Thread& thread = place.threads[0];
  if (thread.kind == Kind::kBody) return (*tags_)[thread.index].body->loop(thread.body);
  if (thread.kind != Kind::kFree || thread.index != TagTriggers::kRoot) return {};
  const CodePointSet* harmless = &tags_->triggers().harmless();
  return {.set = harmless, .remaining = RegexPool::kUnbounded, .same = harmless};
}

void TagRecognizer::fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) {
  const Thread* body = only_body(places_[position.node]);
  if (body == nullptr) {
    walk_.fill(*this, position, vocabulary, mask);
    add_tokens_beside_utf8(*this, position, vocabulary, mask);
    return;
  }
  (*tags_)[body->index].body->fill(body->body, vocabulary, mask);
  fill_past_body(position.node, vocabulary, mask);
}

// A token that ends the body goes on with the first byte of the tag's end. Tokens come sorted: what
// one has in common with the one before it is not read again.
void TagRecognizer::fill_past_body(PlaceId place, const Vocabulary& vocabulary, TokenMask& mask) {
  const std::string& end = (*tags_)[places_[place].threads[0].index].end;
  if (end.empty()) return;
  std::vector<Position> path = {{.node = place}};  // behind each byte of `before` that was read
  std::string_view before;
  for (const std::uint32_t rank : vocabulary.containing(static_cast<std::uint8_t>(end[0]))) {
    const std::string_view token = vocabulary.bytes_at(rank);
    const auto differs = std::ranges::mismatch(token, before.substr(0, path.size() - 1)).in1;
    path.resize(static_cast<std::size_t>(differs - token.begin()) + 1);
    before = token;
    while (path.size() <= token.size() && !path.back().dead())
      path.push_back(step(path.back(), static_cast<std::uint8_t>(token[path.size() - 1])));
    if (path.size() > token.size() && !path.back().dead()) mask.set(vocabulary.ids()[rank]);
  }
}

std::optional<std::uint8_t> TagRecognizer::forced(Position position) {
  const Place& place = places_[position.node];
  if (place.accepting) return std::nullopt;
  std::optional<std::uint8_t> byte;
  for (const Thread& thread : place.threads) {
    const std::optional<std::uint8_t> next = forced(thread);
    if (!next || (byte && *byte != *next)) return std::nullopt;
    byte = next;
  }
  return byte;
}

std::optional<std::uint8_t> TagRecognizer::forced(const Thread& thread) {
  switch (thread.kind) {
    case Kind::kBetween:
    case Kind::kBegin: {
      const bool tokens = takes_begin_token(thread) && !tags_->token_roots().empty();
      const std::uint32_t node = thread.kind == Kind::kBegin ? thread.index : TagSet::kTextRoot;
      const TagBegin& begin = tags_->begin(node);
      if (tokens || begin.next.size() != 1) return std::nullopt;
      return begin.next[0].first;
    }
    case Kind::kBody:
      return (*tags_)[thread.index].body->forced(thread.body);
    case Kind::kEnd: {
      const std::string& end = (*tags_)[thread.index].end;
      if (thread.offset == end.size()) return std::nullopt;
      return static_cast<std::uint8_t>(end[thread.offset]);
    }
    case Kind::kSeparator:
      return static_cast<std::uint8_t>(separator_[thread.offset]);
    case Kind::kFree:
    case Kind::kDone:
      break;
  }
  return std::nullopt;
}

// As far as text goes: it ends where a special token must follow.
std::string TagRecognizer::shortest_rest(Position position) {
  if (places_[position.node].accepting) return {};
  std::optional<std::string> best;
  const Threads threads = places_[position.node].threads;
  for (const Thread& thread : threads) {
    const bool free = thread.kind == Kind::kFree;
    std::string rest =
        free ? rest_of_free(position.node, tags_->triggers().depth(thread.index)) : rest_of(thread);
    if (!best || rest.size() < best->size()) best = std::move(rest);
  }
  return best.value_or(std::string());
}

std::string TagRecognizer::rest_of(const Thread& thread) {
  switch (thread.kind) {
    case Kind::kBetween:
      return rest_of_begin(TagSet::kTextRoot);
    case Kind::kBegin:
      return rest_of_begin(thread.index);
    case Kind::kBody:
      return body_and_end(thread.index, thread.body);
    case Kind::kEnd:
      return (*tags_)[thread.index].end.substr(thread.offset);
    case Kind::kSeparator:
      return separator_.substr(thread.offset) + rest_of_begin(TagSet::kTextRoot);
    case Kind::kFree:
    case Kind::kDone:
      break;
  }
  return {};
}

// The tag that is reached along the first branches: begins are all about as long.
std::string TagRecognizer::rest_of_begin(std::uint32_t node) {
  std::string begin;
  while (tags_->begin(node).tags.empty()) {
    if (tags_->begin(node).next.empty()) return begin;  // only special tokens open tags
    const auto [byte, next] = tags_->begin(node).next[0];
    begin.push_back(static_cast<char>(byte));
    node = next;
  }
  const TagIndex tag = tags_->begin(node).tags[0];
  return begin + body_and_end(tag, (*tags_)[tag].body->start());
}

// A whole tag, or what is left of one whose first bytes may have been read: whatever reads well.
std::string TagRecognizer::rest_of_free(PlaceId place, std::size_t read) {
  constexpr TagIndex kEnough = 16;
  std::optional<std::string> best;
  for (TagIndex tag = 0; tag < std::min<std::size_t>(tags_->size(), kEnough); ++tag) {
    const TagSet::Entry& entry = (*tags_)[tag];
    if (entry.begin_token) continue;
    const std::string rest = body_and_end(tag, entry.body->start());
    for (const std::size_t skip : {std::min(read, entry.begin.size()), std::size_t{0}}) {
      std::string text = entry.begin.substr(skip) + rest;
      if (best && best->size() <= text.size()) continue;
      Position end = {.node = place};
      for (const char byte : text) end = step(end, static_cast<std::uint8_t>(byte));
      if (!end.dead() && (accepting(end) || entry.end_token)) best = std::move(text);
    }
  }
  return best.value_or(std::string());
}

std::string TagRecognizer::body_and_end(TagIndex tag, Position body) {
  return (*tags_)[tag].body->shortest_rest(body) + (*tags_)[tag].end;
}

std::size_t TagRecognizer::bytes() const {
  return tags_->bytes() + places_.capacity() * sizeof(Place) + thread_bytes_ + index_.bytes() +
         table_.bytes() + body_keys_.capacity() * sizeof(BodyKey) + body_key_index_.bytes();
}

}  // namespace

std::variant<std::unique_ptr<Recognizer>, GuidedFindings> make_tag_recognizer(
    const TagRules& rules, std::vector<TokenId> free_tokens, const BodyRecognizerMaker& make_body,
    Fuel& fuel, const GuidedLimits& limits) {
  auto tags = TagSet::make(rules, make_body, limits);
  if (auto* findings = std::get_if<GuidedFindings>(&tags)) return std::move(*findings);
  return std::make_unique<TagRecognizer>(rules, std::get<std::unique_ptr<TagSet>>(std::move(tags)),
                                         std::move(free_tokens), fuel, limits);
}

}  // namespace tessera::guided
