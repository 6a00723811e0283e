#include "engine/guided/earley_lexer.hpp"

#include <algorithm>
#include <utility>

#include "engine/guided/utf8_pending.hpp"
#include "engine/text/code_point_set.hpp"

namespace tessera::guided {
namespace {

// An end of a text is decided before its first byte; only a document's child may need none.
constexpr std::uint32_t kText = GrammarLexeme::kNoChild;

std::uint64_t hash_of(TextDfa::State text, std::uint32_t pending, std::uint32_t child,
                      const Position& position) {
  std::uint64_t hash = mix(text, pending);
  hash = mix(hash, child);
  hash = mix(hash, (std::uint64_t{position.node} << 32U) | position.mode);
  return mix(hash, position.lex);
}

}  // namespace

void ByteTable::set(Row& row, std::uint8_t byte, std::uint32_t next) {
  std::uint32_t& block = row[byte / kBlock];
  if (block == 0) {
    block = static_cast<std::uint32_t>(cells_.size() / kBlock);
    cells_.resize(cells_.size() + kBlock, kUnknown);
  }
  cells_[block * kBlock + byte % kBlock] = next;
}

LexemeReader::LexemeReader(const Grammar& grammar, RegexPool& pool)
    : grammar_(grammar), dfa_(pool), entries_(1), starts_(grammar.lexemes.size()) {}

LexemeReader::State LexemeReader::start(LexemeId lexeme) {
  State& start = starts_[lexeme];
  if (start != kDead) return start;
  const GrammarLexeme& what = grammar_.lexemes[lexeme];
  Entry entry;
  entry.child = what.child;
  if (what.child == kText) {
    entry.text = dfa_.start(what.regex);
  } else {
    entry.position = grammar_.children[what.child]->start();
  }
  return start = intern(entry);
}

LexemeReader::State LexemeReader::step(State state, std::uint8_t byte) {
  const std::uint32_t known = table_.get(entries_[state].next, byte);
  if (known != ByteTable::kUnknown) return known;
  const State next = intern(stepped(entries_[state], byte));
  table_.set(entries_[state].next, byte, next);
  return next;
}

LexemeReader::Entry LexemeReader::stepped(const Entry& from, std::uint8_t byte) {
  if (from.child == kText) return stepped_text(from, byte);
  Entry to;
  to.child = from.child;
  to.position = grammar_.children[from.child]->step(from.position, byte);
  return to;
}

LexemeReader::Entry LexemeReader::stepped_text(const Entry& from, std::uint8_t byte) {
  Entry to;
  const Utf8Pending pending = Utf8Pending(from.pending).next(byte);
  if (pending.dead()) return to;
  if (pending.whole()) {
    to.text = dfa_.step(from.text, pending.code_point());
  } else if (dfa_.any_step(from.text, pending.begin(), pending.end())) {
    to.text = from.text;
    to.pending = pending.bits();
  }
  return to;
}

LexemeReader::State LexemeReader::intern(Entry entry) {
  const bool dead = entry.child == kText ? entry.text == TextDfa::kDead : entry.position.dead();
  if (dead) return kDead;
  const std::uint64_t hash = hash_of(entry.text, entry.pending, entry.child, entry.position);
  const std::uint32_t known = index_.find(hash, [&](std::uint32_t i) {
    const Entry& other = entries_[i];
    return other.text == entry.text && other.pending == entry.pending &&
           other.child == entry.child && other.position == entry.position;
  });
  if (known != HashIndex::kNone) return known;
  if (entry.child != kText) {
    Recognizer& child = *grammar_.children[entry.child];
    entry.accepts = child.accepting(entry.position);
    entry.spent = child.finished(entry.position);
  } else {
    entry.accepts = entry.pending == 0 && dfa_.accepts(entry.text);
    entry.spent = entry.accepts && !dfa_.any_step(entry.text, 0, kCodePointEnd);
  }
  entries_.push_back(entry);
  const auto id = static_cast<State>(entries_.size() - 1);
  index_.insert(hash, id);
  return id;
}

ByteLoop LexemeReader::loop(State state) {
  const Entry& entry = entries_[state];
  if (entry.child != kText) return grammar_.children[entry.child]->loop(entry.position);
  if (entry.pending != 0) return {};
  const TextLoop loop = dfa_.loop(entry.text);
  if (loop.set == 0) return {};
  const CodePointSet* same = loop.same == 0 ? nullptr : &dfa_.loop_set(loop.same);
  return {.set = &dfa_.loop_set(loop.set), .remaining = loop.remaining, .same = same};
}

bool LexemeReader::follows(State state, const CodePointSet& set) {
  const CodePointSet* same = loop(state).same;
  if (same != nullptr && (same == &set || same->intersection(set) == set)) return true;
  const Entry& entry = entries_[state];
  if (entry.child != kText || entry.pending != 0) return false;
  return std::ranges::none_of(set.ranges(), [&](const CodePointSet::Range& range) {
    return dfa_.any_step(entry.text, range.begin, range.end);
  });
}

std::optional<std::uint8_t> LexemeReader::forced(State state) {
  const Entry& entry = entries_[state];
  if (entry.accepts) return std::nullopt;
  if (entry.child != kText) return grammar_.children[entry.child]->forced(entry.position);
  const char32_t code_point = dfa_.forced(entry.text);
  if (code_point == 0) return std::nullopt;
  return Utf8Pending(entry.pending).next_byte_of(code_point);
}

std::string LexemeReader::shortest_rest(State state) {
  const Entry entry = entries_[state];
  if (entry.child != kText) return grammar_.children[entry.child]->shortest_rest(entry.position);
  if (entry.pending == 0) return dfa_.shortest_rest(entry.text);
  // Halve what the code point can still be until one is left.
  const Utf8Pending pending(entry.pending);
  char32_t begin = pending.begin();
  char32_t end = pending.end();
  while (end - begin > 1) {
    const char32_t middle = begin + (end - begin) / 2;
    (dfa_.any_step(entry.text, begin, middle) ? end : begin) = middle;
  }
  return pending.rest_of(begin) + dfa_.shortest_rest(dfa_.step(entry.text, begin));
}

std::size_t LexemeReader::bytes() const {
  return dfa_.bytes() + entries_.capacity() * sizeof(Entry) + index_.bytes() + table_.bytes();
}

LexemeSets::Id LexemeSets::start(std::span<const LexemeId> lexemes) {
  std::vector<Part> parts;
  parts.reserve(lexemes.size());
  for (const LexemeId lexeme : lexemes) parts.push_back({lexeme, reader_.start(lexeme)});
  return intern(parts);
}

LexemeSets::Id LexemeSets::step_first(Id set, std::uint8_t byte) {
  stepped_.clear();
  for (const Part& part : sets_[set].parts) {
    const LexemeReader::State next = reader_.step(part.state, byte);
    if (next != LexemeReader::kDead) stepped_.push_back({part.lexeme, next});
  }
  const Id next = intern(stepped_);
  table_.set(sets_[set].next, byte, next);
  return next;
}

LexemeSets::Id LexemeSets::intern(std::span<const Part> parts) {
  if (parts.empty()) return kNone;
  std::uint64_t hash = parts.size();
  for (const Part& part : parts) hash = mix(mix(hash, part.lexeme), part.state);
  const std::uint32_t known =
      index_.find(hash, [&](std::uint32_t i) { return std::ranges::equal(sets_[i].parts, parts); });
  if (known != HashIndex::kNone) return known;
  Set set;
  set.parts.assign(parts.begin(), parts.end());
  for (const Part& part : set.parts)
    if (reader_.accepts(part.state)) set.complete.push_back(part.lexeme);
  part_bytes_ += parts.size() * sizeof(Part) + set.complete.size() * sizeof(LexemeId);
  std::vector<Part> live;
  for (const Part& part : set.parts)
    if (!reader_.spent(part.state)) live.push_back(part);
  const bool all = live.size() == set.parts.size();
  const Id going_on = all ? kNone : intern(live);
  sets_.push_back(std::move(set));
  const auto id = static_cast<Id>(sets_.size() - 1);
  sets_[id].going_on = all ? id : going_on;
  index_.insert(hash, id);
  return id;
}

std::size_t LexemeSets::bytes() const {
  return sets_.capacity() * sizeof(Set) + part_bytes_ + index_.bytes() + table_.bytes();
}

}  // namespace tessera::guided
