#include "engine/guided/earley_recognizer.hpp"

#include <algorithm>
#include <utility>

#include "engine/guided/utf8_pending.hpp"

namespace tessera::guided {

EarleyRecognizer::EarleyRecognizer(Grammar grammar, RegexPool& pool, Fuel& fuel,
                                   const GuidedLimits& limits)
    : grammar_(std::move(grammar)),
      fuel_(fuel),
      max_threads_(static_cast<std::size_t>(limits.max_earley_items)),
      rows_(grammar_, fuel, limits),
      reader_(grammar_, pool),
      sets_(reader_),
      shortest_(grammar_, rows_, reader_, fuel),
      places_(1) {
  add_row(rows_.start(), threads_);
  start_ = intern(threads_, rows_.accepting(rows_.start()));
}

void EarleyRecognizer::add_row(RowId row, std::vector<Thread>& threads) {
  if (beginnings_.size() <= row) beginnings_.resize(row + 1, kUnknown);
  if (beginnings_[row] == kUnknown) beginnings_[row] = sets_.start(rows_.lexemes(row));
  if (beginnings_[row] != LexemeSets::kNone) threads.push_back({row, beginnings_[row]});
}

EarleyRecognizer::PlaceId EarleyRecognizer::step_first(PlaceId place, std::uint8_t byte) {
  threads_.clear();
  ended_.clear();
  fuel_.spend(1 + places_[place].threads.size());
  std::uint64_t key = 0;
  for (const Thread& thread : places_[place].threads) {
    const LexemeSets::Id reading = sets_.step(thread.reading, byte);
    const LexemeSets::Id going_on = sets_.going_on(reading);
    if (going_on != LexemeSets::kNone) threads_.push_back({thread.row, going_on});
    if (sets_.complete(reading).empty()) continue;
    ended_.push_back({thread.row, sets_.complete(reading)});
    key = std::uint64_t{thread.row} << 32U | reading;
  }
  bool accepting = false;
  if (!ended_.empty()) {
    const RowId row = row_after(key);
    accepting = rows_.accepting(row);
    add_row(row, threads_);
  }
  const PlaceId next = intern(threads_, accepting);
  table_.set(places_[place].next, byte, next);
  return next;
}

// The row behind what has ended, looked up where that is all in one row (`key`), as it mostly is.
RowId EarleyRecognizer::row_after(std::uint64_t key) {
  if (ended_.size() > 1) return rows_.after(ended_);
  const auto [known, is_new] = after_.try_emplace(key, EarleyRows::kNone);
  if (known->second == EarleyRows::kNone) known->second = rows_.after(ended_);
  return known->second;
}

EarleyRecognizer::PlaceId EarleyRecognizer::intern(std::vector<Thread>& threads, bool accepting) {
  if (threads.empty() && !accepting) return kDead;
  if (threads.size() > max_threads_) throw FuelExhausted{};
  if (threads.size() > 1) {
    std::ranges::sort(threads);
    threads.erase(std::unique(threads.begin(), threads.end()), threads.end());
  }
  std::uint64_t hash = accepting ? 1 : 0;
  for (const Thread& thread : threads) hash = mix(mix(hash, thread.row), thread.reading);
  const std::uint32_t known = index_.find(hash, [&](std::uint32_t i) {
    return places_[i].accepting == accepting && places_[i].threads == threads;
  });
  if (known != HashIndex::kNone) return known;
  thread_bytes_ += threads.size() * sizeof(Thread);
  Place& place = places_.emplace_back();
  place.threads = threads;
  place.accepting = accepting;
  const auto id = static_cast<PlaceId>(places_.size() - 1);
  index_.insert(hash, id);
  return id;
}

bool EarleyRecognizer::finished(Position position) {
  const Place& place = places_[position.node];
  return place.accepting && place.threads.empty();
}

ByteLoop EarleyRecognizer::loop(Position position) {
  Place& place = places_[position.node];
  if (place.loop_known) return place.loop;
  const ByteLoop found = find_loop(position.node);
  places_[position.node].loop = found;
  places_[position.node].loop_known = true;
  return found;
}

// What keeps one lexeme going keeps the place alive. It leads to one place if the other lexemes go
// on or end with it alike. Where it leads to another kind of place (a digit where any expression
// may begin) it is no loop: a mask would be made from what is least common there.
ByteLoop EarleyRecognizer::find_loop(PlaceId id) {
  ByteLoop best;
  for (const Thread& thread : places_[id].threads) {
    for (const LexemeSets::Part& part : sets_.parts(thread.reading)) {
      const ByteLoop loop = reader_.loop(part.state);
      if (loop.set == nullptr || loop.remaining == 0) continue;
      if (loop.same != nullptr && !loop.same->empty() && all_follow(id, *loop.same)) {
        const PlaceId next = after_one_of(id, *loop.same);
        if (next == id) return {loop.same, RegexPool::kUnbounded, loop.same};
        if (is_alike(id, next)) return {loop.same, loop.remaining, loop.same};
      }
      if (best.set == nullptr || best.remaining < loop.remaining)
        best = {.set = loop.set, .remaining = loop.remaining};
    }
  }
  return best;
}

EarleyRecognizer::PlaceId EarleyRecognizer::after_one_of(PlaceId id, const CodePointSet& set) {
  Position next = {.node = id};
  for (const char byte : Utf8Pending().rest_of(set.ranges()[0].begin))
    next = step(next, static_cast<std::uint8_t>(byte));
  return next.node;
}

// Whether the same lexemes are being read in the same rows.
bool EarleyRecognizer::is_alike(PlaceId a, PlaceId b) const {
  const auto same_lexeme = [](const LexemeSets::Part& x, const LexemeSets::Part& y) {
    return x.lexeme == y.lexeme;
  };
  return std::ranges::equal(
      places_[a].threads, places_[b].threads, [&](const Thread& x, const Thread& y) {
        return x.row == y.row &&
               std::ranges::equal(sets_.parts(x.reading), sets_.parts(y.reading), same_lexeme);
      });
}

// Whether one code point more leads to one place, whichever of the set it is.
bool EarleyRecognizer::all_follow(PlaceId id, const CodePointSet& set) {
  for (const Thread& thread : places_[id].threads)
    for (const LexemeSets::Part& part : sets_.parts(thread.reading))
      if (!reader_.follows(part.state, set)) return false;
  return true;
}

void EarleyRecognizer::fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) {
  walk_.fill(*this, position, vocabulary, mask);
}

std::optional<std::uint8_t> EarleyRecognizer::forced(Position position) {
  const Place& place = places_[position.node];
  if (place.accepting) return std::nullopt;
  std::optional<std::uint8_t> byte;
  for (const Thread& thread : place.threads) {
    for (const LexemeSets::Part& part : sets_.parts(thread.reading)) {
      const std::optional<std::uint8_t> next = reader_.forced(part.state);
      if (!next || (byte && *byte != *next)) return std::nullopt;
      byte = next;
    }
  }
  return byte;
}

std::string EarleyRecognizer::shortest_rest(Position position) {
  const Place& place = places_[position.node];
  if (place.accepting) return {};
  std::vector<EarleyShortest::Start> starts;
  for (const Thread& thread : place.threads)
    for (const LexemeSets::Part& part : sets_.parts(thread.reading))
      starts.push_back({thread.row, part.lexeme, reader_.shortest_rest(part.state)});
  return shortest_.rest(starts);
}

std::size_t EarleyRecognizer::bytes() const {
  return grammar_.bytes() + rows_.bytes() + reader_.bytes() + sets_.bytes() + thread_bytes_ +
         places_.capacity() * sizeof(Place) + index_.bytes() + table_.bytes() +
         beginnings_.capacity() * sizeof(LexemeSets::Id) + after_.size() * kBytesOfAfter;
}

}  // namespace tessera::guided
