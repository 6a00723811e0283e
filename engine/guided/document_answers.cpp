// What a document's position is asked besides the next byte: ends, masks, forced and shortest text.

#include <algorithm>
#include <bit>

#include "engine/guided/code_point_partition.hpp"
#include "engine/guided/document_machine.hpp"

namespace tessera::guided {
namespace {

// Closing brackets in one token, at most: masks do not depend on the stack below.
constexpr int kFramesSeen = 24;

}  // namespace

bool DocumentMachine::accepting(Position position) {
  if (position.dead()) return false;
  if (mode_of(position) == Mode::kDone) return true;
  return mode_of(position) == Mode::kNumber && kind(position.node) == FrameKind::kDocument &&
         states_.texts().accepts(static_cast<TextDfa::State>(position.lex));
}

bool DocumentMachine::finished(Position position) {
  if (!accepting(position)) return false;
  if (mode_of(position) == Mode::kDone) return true;
  constexpr std::string_view kOfNumbers = "0123456789.eE+-";
  return std::ranges::all_of(
      kOfNumbers, [&](char c) { return step(position, static_cast<std::uint8_t>(c)).dead(); });
}

MaskKey DocumentMachine::mask_key(Position position) {
  MaskKey key;
  if (mode_of(position) == Mode::kString || mode_of(position) == Mode::kNumber) {
    StringState state = string_state(position);
    state.text = states_.texts().mask_state(state.text);
    position = in_string(position, state);
  }
  // The trail as well: two texts of which the automaton says the same are two values.
  const MaskKey& stack = stack_key(position.node);
  key.high = mix(mix(stack.high, position.mode), position.lex);
  key.low = mix(mix(stack.low, position.lex), position.mode);
  return key;
}

// Of the frames that a token can see.
const MaskKey& DocumentMachine::stack_key(FrameId of) {
  MaskKey& key = facts_[of].stack;
  if (key == MaskKey{}) {
    key = {1, 2};
    FrameId frame = of;
    for (int i = 0; i < kFramesSeen && frame != 0; ++i) {
      key.high = mix(key.high, facts_[frame].hash);
      key.low = mix(key.low + 0x5851F42D4C957F2DU, facts_[frame].hash);
      frame = word(frame, kParent);
    }
  }
  return key;
}

ByteLoop DocumentMachine::loop(Position position) {
  if (position.dead()) return {};
  const StringState state = string_state(position);
  if (mode_of(position) == Mode::kKey) {
    if (state.pending != 0) return {};
    KeyText& keys = states_.keys();
    return keys.follows_names(state.text) ? keys.loop(state.text, raw_)
                                          : text_loop(keys.other(state.text));
  }
  if (mode_of(position) != Mode::kString || state.pending != 0) return {};
  return text_loop(state.text);
}

ByteLoop DocumentMachine::text_loop(TextDfa::State state) {
  const TextLoop loop = states_.texts().loop(state);
  if (loop.set == 0) return {};
  const RawSet set = raw_set(loop.set);
  ByteLoop raw{set.raw, loop.remaining, loop.same == 0 ? nullptr : raw_set(loop.same).raw};
  if (loop.same == loop.set && set.all) raw.escapes = options_.escapes;
  return raw;
}

DocumentMachine::RawSet DocumentMachine::raw_set(std::uint32_t set) {
  const auto known = raw_sets_.find(set);
  if (known != raw_sets_.end()) return known->second;
  const CodePointSet& of = states_.texts().loop_set(set);
  CodePointSet scalars;
  scalars.add(0, kSurrogateBegin);
  scalars.add(kSurrogateEnd, kCodePointEnd);
  const RawSet made{states_.keys().keep(of.intersection(raw_)),
                    of.intersection(scalars) == scalars};
  raw_sets_.emplace(set, made);
  return made;
}

Likeness DocumentMachine::likeness(Position position) {
  if (position.dead() || mode_of(position) != Mode::kKey) return {};
  const StringState state = string_state(position);
  KeyText& keys = states_.keys();
  if (state.pending != 0 || !keys.follows_names(state.text)) return {};
  const KeyText::State other = keys.without_names(state.text);
  const Position base = other == KeyText::kDead ? Position{} : in_string(position, {other, 0});
  return {base, &keys.apart(state.text)};
}

TextClasses DocumentMachine::classes_of(std::uint32_t region) {
  if (region == TextDfa::kNoRegion) return {};
  return {.classes = &states_.texts().region_classes(region), .number = region, .quoted = true};
}

// Where a trail is kept, equal texts are not equal positions.
bool DocumentMachine::has_classes(Position position) {
  if (position.dead() || string_state(position).pending != 0) return false;
  if (mode_of(position) == Mode::kKey) {
    return !states_.keys().follows_names(string_state(position).text);
  }
  return mode_of(position) == Mode::kString &&
         (!records(position.node) || trail(position) == kLostTrail);
}

TextClasses DocumentMachine::text_classes(Position position) {
  return classes_of(states_.texts().region(read_text(position)));
}

TextClasses DocumentMachine::refine_classes(Position from, Position at) {
  return classes_of(states_.texts().refine_region(read_text(from), read_text(at)));
}

// What is read of a text that must be known changes little about its mask: that of the last one, as
// if nothing had been read of it, is kept. Of a name, only where no known one follows: there are no
// two places at the same letter of a known one.
void DocumentMachine::fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) {
  const Mode mode = mode_of(position);
  const bool kept = mode == Mode::kKey ? !states_.keys().follows_names(string_state(position).text)
                                       : mode == Mode::kString && records(position.node);
  if (kept) {
    mask = untold_mask(without_trail(position), vocabulary, mask.vocab_size());
  } else {
    fill_unrecorded(mode == Mode::kKey ? without_trail(position) : position, vocabulary, mask);
  }
  check_unrecorded(position, vocabulary, mask);
}

const TokenMask& DocumentMachine::untold_mask(Position untold, const Vocabulary& vocabulary,
                                              int vocab_size) {
  const MaskKey key = mask_key(untold);
  if (!untold_ || untold_->key != key || untold_->vocabulary != &vocabulary) {
    TokenMask mask = untold_ ? std::move(untold_->mask) : TokenMask(vocab_size);
    untold_.reset();  // if there is no time for the new one
    mask.clear();
    fill_unrecorded(untold, vocabulary, mask);
    untold_ = UntoldMask{key, &vocabulary, std::move(mask), lost_text_, lost_name_};
  }
  lost_text_ = untold_->lost_text;
  lost_name_ = untold_->lost_name;
  return untold_->mask;
}

Position DocumentMachine::without_trail(Position position) {
  position.mode &= 1023U;
  return position;
}

// Nothing that is read on the way is recorded, but for a number.
void DocumentMachine::fill_unrecorded(Position position, const Vocabulary& vocabulary,
                                      TokenMask& mask) {
  const Mode mode = mode_of(position);
  lost_name_ = lost_text_ = false;
  if (mode == Mode::kString && records(position.node)) {
    position.mode |= kLostTrail << 10;
    lost_text_ = true;
  }
  // What its base leads to may have been read for an earlier mask.
  if (mode == Mode::kKey && states_.keys().others(string_state(position).text)) {
    lose_name(position.node);
  }
  struct Recording {
    explicit Recording(bool& on) : on_(on) { on_ = false; }
    ~Recording() { on_ = true; }
    bool& on_;
  };
  const Recording off(recording_);
  walk_.fill(*this, position, vocabulary, mask);
}

void DocumentMachine::check_unrecorded(Position position, const Vocabulary& vocabulary,
                                       TokenMask& mask) {
  if (lost_text_) {
    check_repeats(position, vocabulary.behind_quotes(), vocabulary, mask);
  } else if (lost_name_) {
    const bool longer = is_longer_name(position, vocabulary.longest_second_name());
    const auto tokens = longer ? vocabulary.five_quotes() : vocabulary.three_quotes();
    check_repeats(position, tokens, vocabulary, mask);
  }
}

// Whether more of a name has been read than a later name in the same token can have, of at most
// `most` bytes (escapes only make that longer): then it does not come again within the token.
bool DocumentMachine::is_longer_name(Position position, std::size_t most) const {
  return mode_of(position) == Mode::kKey && string_state(position).pending == 0 &&
         unescaped_trail(position).size() > most;
}

// A text that was not recorded may decide about what comes behind its quote. Of endlessly many
// names it is only that one may come again within the same token, which then holds the quote behind
// it and two more, or two names that are both in the token, and five quotes.
// Those few tokens are read once more, whole and recorded.
void DocumentMachine::check_repeats(Position position, std::span<const MaskWord> tokens,
                                    const Vocabulary& vocabulary, TokenMask& mask) {
  for (const auto& [index, bits] : tokens) {
    for (std::uint64_t left = mask.words()[index] & bits; left != 0; left &= left - 1) {
      const auto id =
          static_cast<TokenId>(64 * index + static_cast<unsigned>(std::countr_zero(left)));
      Position at = position;
      for (const char byte : vocabulary.bytes(id)) {
        at = step(at, static_cast<std::uint8_t>(byte));
        if (at.dead()) break;
      }
      if (at.dead()) mask.clear(id);
    }
  }
}

std::optional<std::uint8_t> DocumentMachine::forced(Position position) {
  if (position.dead() || accepting(position)) return {};
  if (mode_of(position) == Mode::kString) {
    const StringState state = string_state(position);
    if (state.pending != 0 || !states_.texts().accepts(state.text)) return strings_.forced(state);
    if (states_.texts().loop(state.text).set != 0) return {};
  }
  std::optional<std::uint8_t> only;
  for (int byte = 0; byte < 256; ++byte) {
    if (step(position, static_cast<std::uint8_t>(byte)).dead()) continue;
    if (only) return {};
    only = static_cast<std::uint8_t>(byte);
  }
  return only;
}

// ---- the shortest rest

std::string DocumentMachine::shortest_rest(Position position) {
  try {
    return find_rest(position);
  } catch (const TooComplex&) {
    throw FuelExhausted{};
  }
}

std::string DocumentMachine::find_rest(Position position) {
  std::string rest;
  while (!position.dead() && !accepting(position)) {
    if (const std::optional<Position> closed = close_at_once(position, rest)) {
      position = *closed;
      continue;
    }
    const std::string piece = next_piece(position);
    if (piece.empty()) return rest;
    obligations_.formulas().fuel().spend(piece.size());
    for (const char c : piece) position = step(position, static_cast<std::uint8_t>(c));
    rest += piece;
  }
  return rest;
}

// Ends the container by one plan for all that it still owes, where nobody asks what is in it: then
// its members and items need not be read.
std::optional<Position> DocumentMachine::close_at_once(Position position, std::string& rest) {
  const FrameId frame = position.node;
  const Mode mode = mode_of(position);
  const bool first = mode == Mode::kFirstName || mode == Mode::kFirstItem;
  if (!first && (mode != Mode::kAfter || kind(frame) == FrameKind::kDocument)) return {};
  const StateId state = word(frame, kState);
  if (word(frame, kRecord) != 0 || !states_.closed_verdicts(state).empty()) return {};
  const bool object = kind(frame) == FrameKind::kObject;
  if (!states_.may_close(state)) {
    const std::string more = object ? states_.members_text(state) : states_.items_text(state);
    if (more.empty()) return {};
    obligations_.formulas().fuel().spend(more.size());
    rest += (first ? "" : ",") + more;
  }
  rest += object ? '}' : ']';
  return after(complete(word(frame, kParent), {}, kNoValue));
}

std::string DocumentMachine::next_piece(Position position) {
  const FrameId frame = position.node;
  switch (mode_of(position)) {
    case Mode::kValue:
      return states_.satisfier().text(states_.tuple(word(frame, kValueOf)).front(),
                                      room(word(frame, kDepth)));
    case Mode::kString:
      return strings_.shortest_rest(string_state(position)) + '"';
    case Mode::kNumber: {
      const auto state = static_cast<TextDfa::State>(position.lex);
      if (!states_.texts().accepts(state)) return states_.texts().shortest_rest(state);
      return next_piece(after(complete_text(position, Kind::kNumber)));
    }
    case Mode::kLiteral:
      return std::string(
          kind_letters(static_cast<Kind>(position.lex & 0xFFU)).substr(position.lex >> 8));
    case Mode::kColon:
      return ":";
    case Mode::kKey:
      return names_.shortest_rest(string_state(position)) + '"';
    case Mode::kName:
      return '"' + names_.shortest_rest({states_.key_start(word(frame, kState)), 0}) + '"';
    case Mode::kFirstName:
      return next_member(frame, false);
    case Mode::kFirstItem:
      return next_item_text(frame, false);
    case Mode::kAfter:
      return kind(frame) == FrameKind::kObject ? next_member(frame, true)
                                               : next_item_text(frame, true);
    case Mode::kDone:
      return {};
  }
  return {};
}

std::string DocumentMachine::next_member(FrameId frame, bool comma) {
  const StateId object = word(frame, kState);
  if (states_.may_close(object)) return "}";
  const std::vector<MemberPlan> plan = states_.members(object);
  if (plan.empty()) return {};
  return (comma ? "," : "") + quoted_string(obligations_.name(plan.front().name)) + ':' +
         states_.satisfier().text(plan.front().value, states_.room(object));
}

std::string DocumentMachine::next_item_text(FrameId frame, bool comma) {
  const StateId array = word(frame, kState);
  if (states_.may_close(array)) return "]";
  const std::vector<ItemPlan> plan = states_.items(array);
  if (plan.empty()) return {};
  return (comma ? "," : "") + states_.satisfier().text(plan.front().value, states_.room(array));
}

std::size_t DocumentMachine::bytes() const {
  constexpr std::size_t kMapEntry = 40;
  return states_.bytes() + frames_.bytes() + trails_.bytes() + records_.bytes() +
         facts_.capacity() * sizeof(Facts) + (text_done_.size() + raw_sets_.size()) * kMapEntry +
         walk_.bytes() + (untold_ ? untold_->mask.words().size_bytes() : 0);
}

}  // namespace tessera::guided
