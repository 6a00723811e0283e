// What a document's position is asked besides the next byte: ends, masks, forced and shortest text.

#include <algorithm>

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
  key.high = mix(mix(1, position.mode & 1023U), position.lex);
  key.low = mix(mix(2, position.lex), position.mode & 1023U);
  FrameId frame = position.node;
  for (int i = 0; i < kFramesSeen && frame != 0; ++i) {
    key.high = mix(key.high, facts_[frame].hash);
    key.low = mix(key.low + 0x5851F42D4C957F2DU, facts_[frame].hash);
    frame = word(frame, kParent);
  }
  return key;
}

ByteLoop DocumentMachine::loop(Position position) {
  if (position.dead()) return {};
  const StringState state = string_state(position);
  if (mode_of(position) == Mode::kKey) {
    return state.pending == 0 ? states_.keys().loop(state.text, raw_) : ByteLoop{};
  }
  if (mode_of(position) != Mode::kString || state.pending != 0) return {};
  const TextLoop loop = states_.texts().loop(state.text);
  if (loop.set == 0) return {};
  return {raw_set(loop.set), loop.remaining, loop.same == 0 ? nullptr : raw_set(loop.same)};
}

const CodePointSet* DocumentMachine::raw_set(std::uint32_t set) {
  const auto known = raw_sets_.find(set);
  if (known != raw_sets_.end()) return known->second;
  const CodePointSet* const kept =
      states_.keys().keep(states_.texts().loop_set(set).intersection(raw_));
  raw_sets_.emplace(set, kept);
  return kept;
}

void DocumentMachine::fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) {
  const Position with_trail = position;
  const bool text = mode_of(position) == Mode::kString || mode_of(position) == Mode::kNumber;
  lost_ = false;
  if (!text || !records(position.node)) {
    position.mode &= 1023U;
  } else if (loop(position).remaining == RegexPool::kUnbounded) {
    position.mode |= kLostTrail << 10;
    lost_ = true;
  }
  {
    struct Recording {
      explicit Recording(bool& on) : on_(on) { on_ = false; }
      ~Recording() { on_ = true; }
      bool& on_;
    };
    const Recording off(recording_);
    walk_.fill(*this, position, vocabulary, mask);
  }
  if (lost_) check_repeats(with_trail, vocabulary, mask);
}

// A name or an item that was not recorded may come again within the same token, which then holds
// the quote behind it and two more: those few tokens are read once more, whole.
void DocumentMachine::check_repeats(Position position, const Vocabulary& vocabulary,
                                    TokenMask& mask) {
  if (repeating_of_ != &vocabulary) {
    repeating_of_ = &vocabulary;
    repeating_.clear();
    for (const std::uint32_t rank : vocabulary.containing('"')) {
      if (std::ranges::count(vocabulary.bytes_at(rank), '"') >= 3) {
        repeating_.push_back(vocabulary.ids()[rank]);
      }
    }
  }
  for (const TokenId id : repeating_) {
    if (!mask[id]) continue;
    Position at = position;
    for (const char byte : vocabulary.bytes(id)) {
      at = step(at, static_cast<std::uint8_t>(byte));
      if (at.dead()) break;
    }
    if (at.dead()) mask.clear(id);
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
    const std::string piece = next_piece(position);
    if (piece.empty()) return rest;
    for (const char c : piece) position = step(position, static_cast<std::uint8_t>(c));
    rest += piece;
  }
  return rest;
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
         facts_.capacity() * sizeof(Facts) + (text_done_.size() + raw_sets_.size()) * kMapEntry;
}

}  // namespace tessera::guided
