#include "engine/guided/document_machine.hpp"

#include <algorithm>
#include <array>

namespace tessera::guided {
namespace {

// Where there is room for so many containers, it does not matter how many more there are.
constexpr std::uint32_t kAmpleRoom = 96;
constexpr int kMaxBlanks = 60;

bool is_blank(std::uint8_t byte) {
  return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

}  // namespace

DocumentMachine::DocumentMachine(SchemaGraph graph, RegexPool& pool, Fuel& fuel,
                                 const DocumentOptions& options)
    : obligations_(std::move(graph), pool, fuel, options),
      states_(obligations_),
      options_(options),
      strings_(states_.texts(), options.escapes),
      names_(states_.keys(), options.escapes),
      raw_(raw_characters()) {
  options_.max_whitespace = std::clamp(options_.max_whitespace, 0, kMaxBlanks);
  options_.max_depth = std::max(options_.max_depth, 0);
  frames_.intern({});
  facts_.push_back({});
  trails_.intern({});
  records_.intern({});
}

bool DocumentMachine::satisfiable() {
  const Literal root = obligations_.schema(obligations_.graph().root);
  if (!states_.satisfier().place(root, room(0))) return false;
  start_ = frame(FrameKind::kDocument, 0, 0, states_.value(std::array{root}), 0, 0);
  return true;
}

// ---- frames

std::uint32_t DocumentMachine::room(std::uint32_t depth) const {
  const auto max_depth = static_cast<std::uint32_t>(options_.max_depth);
  return std::min(kAmpleRoom, max_depth > depth ? max_depth - depth : 0);
}

DocumentMachine::FrameId DocumentMachine::frame(FrameKind kind, FrameId parent, StateId state,
                                                TupleId value, std::uint32_t record,
                                                std::uint32_t depth) {
  const std::array<std::uint32_t, kNumWords> words{
      static_cast<std::uint32_t>(kind), parent, state, value, record, depth};
  const FrameId id = frames_.intern(words);
  if (id == facts_.size()) {
    facts_.push_back({});
    std::uint64_t hash = words[kKind];
    for (const std::uint32_t part : {state, value, record}) hash = mix(hash, part);
    facts_.back().hash = hash;
    facts_.back().records = record != 0 || (kind == FrameKind::kArray && states_.remembers(state));
    obligations_.formulas().fuel().spend();
  }
  return id;
}

DocumentMachine::FrameId DocumentMachine::with_state(FrameId of, StateId state, TupleId value) {
  return frame(kind(of), word(of, kParent), state, value, word(of, kRecord), word(of, kDepth));
}

DocumentMachine::FrameId DocumentMachine::open(FrameId of, FrameKind kind) {
  FrameId& known = kind == FrameKind::kObject ? facts_[of].object : facts_[of].array;
  if (known != kUnknown) return known;
  FrameId opened = 0;
  const std::uint32_t depth = word(of, kDepth) + 1;
  if (depth <= static_cast<std::uint32_t>(options_.max_depth)) {
    const TupleId value = word(of, kValueOf);
    const StateId state = kind == FrameKind::kObject ? states_.open_object(value, room(depth))
                                                     : states_.open_array(value, room(depth));
    const auto first = static_cast<std::uint32_t>(kind);
    const std::uint32_t record = records(of) ? records_.intern(std::array{first}) : 0;
    if (state != 0) opened = frame(kind, of, state, 0, record, depth);
  }
  (kind == FrameKind::kObject ? facts_[of].object : facts_[of].array) = opened;
  return opened;
}

DocumentMachine::FrameId DocumentMachine::next_item(FrameId of) {
  if (facts_[of].item != kUnknown) return facts_[of].item;
  const DocumentStates::Step step = states_.item(word(of, kState));
  const FrameId next = step.value == 0 ? 0 : with_state(of, step.state, step.value);
  facts_[of].item = next;
  return next;
}

DocumentMachine::FrameId DocumentMachine::complete(FrameId of, const Verdicts& verdicts,
                                                   ValueId value) {
  if (kind(of) == FrameKind::kDocument) return with_state(of, 0, 0);
  if (verdicts.empty() && !records(of)) {
    if (facts_[of].done == kUnknown) {
      const FrameId done = with_state(of, word(of, kState), 0);
      facts_[of].done = done;
    }
    return facts_[of].done;
  }
  StateId state = states_.after(word(of, kState), verdicts);
  std::uint32_t record = word(of, kRecord);
  if (value != kNoValue && kind(of) == FrameKind::kArray && states_.remembers(state)) {
    state = states_.note_item(state, value);
  }
  record = longer_record(record, value);
  return frame(kind(of), word(of, kParent), state, 0, record, word(of, kDepth));
}

DocumentMachine::FrameId DocumentMachine::complete_text(Position position, Kind kind) {
  const FrameId of = position.node;
  const auto state = static_cast<TextDfa::State>(position.lex);
  const TupleId value = word(of, kValueOf);
  if (records(of)) {
    return complete(of, states_.text_verdicts(value, state), text_value(position, kind));
  }
  if (states_.tuple(value).size() == 1) return complete(of, {}, kNoValue);
  const std::uint64_t key = pair_key(of, state);
  if (const auto known = text_done_.find(key); known != text_done_.end()) return known->second;
  const FrameId done = complete(of, states_.text_verdicts(value, state), kNoValue);
  text_done_.emplace(key, done);
  return done;
}

Position DocumentMachine::after(FrameId frame) const {
  return at(frame, kind(frame) == FrameKind::kDocument ? Mode::kDone : Mode::kAfter);
}

// ---- steps

Position DocumentMachine::start() {
  return start_ == 0 ? Position{} : at(start_, Mode::kValue);
}

Position DocumentMachine::step_anywhere(Position position, std::uint8_t byte) {
  if (position.dead()) return {};
  if (mode_of(position) == Mode::kString) return step_string(position, byte);
  try {
    return step_token(position, byte);
  } catch (const TooComplex&) {
    throw FuelExhausted{};  // of this one text
  }
}

Position DocumentMachine::step_token(Position position, std::uint8_t byte) {
  switch (mode_of(position)) {
    case Mode::kNumber:
      return step_number(position, byte);
    case Mode::kLiteral:
      return step_literal(position, byte);
    case Mode::kKey:
      return step_key(position, byte);
    default:
      return is_blank(byte) ? blank(position) : step_structure(position, byte);
  }
}

Position DocumentMachine::blank(Position position) {
  const Mode mode = mode_of(position);
  const bool outside = kind(position.node) == FrameKind::kDocument;
  if (options_.whitespace == Whitespace::kCompact || mode == Mode::kDone || outside) return {};
  if (blanks(position) >= static_cast<std::uint32_t>(options_.max_whitespace)) return {};
  position.mode += 1U << 4;
  return position;
}

Position DocumentMachine::step_structure(Position position, std::uint8_t byte) {
  const FrameId frame = position.node;
  switch (mode_of(position)) {
    case Mode::kValue:
      return begin_value(frame, byte);
    case Mode::kColon:
      return byte == ':' ? at(frame, Mode::kValue) : Position{};
    case Mode::kName:
      return byte == '"' ? begin_name(frame) : Position{};
    case Mode::kFirstName:
      if (byte == '"') return begin_name(frame);
      return byte == '}' ? close(frame) : Position{};
    case Mode::kFirstItem:
      if (byte == ']') return close(frame);
      if (const FrameId item = next_item(frame); item != 0) return begin_value(item, byte);
      return {};
    case Mode::kAfter:
      if (byte == ',') return comma(frame);
      return byte == (kind(frame) == FrameKind::kObject ? '}' : ']') ? close(frame) : Position{};
    default:
      return {};
  }
}

Position DocumentMachine::comma(FrameId frame) {
  if (kind(frame) == FrameKind::kObject) {
    const bool more = states_.key_start(word(frame, kState)) != KeyText::kDead;
    return more ? at(frame, Mode::kName) : Position{};
  }
  const FrameId item = next_item(frame);
  return item != 0 ? at(item, Mode::kValue) : Position{};
}

Position DocumentMachine::close(FrameId frame) {
  if (facts_[frame].closed == kUnknown) {
    const StateId state = word(frame, kState);
    FrameId closed = 0;
    if (states_.may_close(state)) {
      const FrameId parent = word(frame, kParent);
      closed = complete(parent, states_.closed_verdicts(state), recorded_value(frame));
    }
    facts_[frame].closed = closed;
  }
  const FrameId closed = facts_[frame].closed;
  return closed == 0 ? Position{} : after(closed);
}

Position DocumentMachine::begin_value(FrameId frame, std::uint8_t byte) {
  const TupleId value = word(frame, kValueOf);
  switch (byte) {
    case '"': {
      const TextDfa::State text = states_.string_start(value);
      if (text == TextDfa::kDead) return {};
      Position position = at(frame, Mode::kString, text);
      const bool lost = !recording_ && records(frame);
      if (lost) position.mode |= kLostTrail << 10;
      lost_text_ = lost_text_ || lost;
      return position;
    }
    case '{': {
      const FrameId object = open(frame, FrameKind::kObject);
      return object == 0 ? Position{} : at(object, Mode::kFirstName);
    }
    case '[': {
      const FrameId array = open(frame, FrameKind::kArray);
      return array == 0 ? Position{} : at(array, Mode::kFirstItem);
    }
    case 'n':
      return begin_literal(frame, Kind::kNull);
    case 't':
      return begin_literal(frame, Kind::kTrue);
    case 'f':
      return begin_literal(frame, Kind::kFalse);
    default: {
      if (byte != '-' && (byte < '0' || byte > '9')) return {};
      const TextDfa::State text = states_.number_start(value);
      if (text == TextDfa::kDead) return {};
      const TextDfa::State next = states_.texts().step(text, byte);
      if (next == TextDfa::kDead) return {};
      const Position position = at(frame, Mode::kNumber, next);
      return records(frame) ? longer_trail(position, byte) : position;
    }
  }
}

Position DocumentMachine::begin_literal(FrameId frame, Kind kind) {
  if (!states_.takes(word(frame, kValueOf), kind)) return {};
  return at(frame, Mode::kLiteral, std::uint64_t{1} << 8 | static_cast<std::uint64_t>(kind));
}

Position DocumentMachine::step_literal(Position position, std::uint8_t byte) {
  const auto kind = static_cast<Kind>(position.lex & 0xFFU);
  const std::size_t read = position.lex >> 8;
  const std::string_view word = kind_letters(kind);
  if (byte != static_cast<std::uint8_t>(word[read])) return {};
  if (read + 1 < word.size()) {
    position.lex += std::uint64_t{1} << 8;
    return position;
  }
  const TupleId value = this->word(position.node, kValueOf);
  ValueId literal = kNoValue;
  if (records(position.node)) {
    literal = kind == Kind::kNull ? obligations_.values().null()
                                  : obligations_.values().boolean(kind == Kind::kTrue);
  }
  return after(complete(position.node, states_.literal_verdicts(value, kind), literal));
}

Position DocumentMachine::step_string(Position position, std::uint8_t byte) {
  const StringState state = string_state(position);
  if (byte == '"' && state.pending == 0) {
    if (!states_.texts().accepts(state.text)) return {};
    return after(complete_text(position, Kind::kString));
  }
  const StringState next = strings_.step(state, byte);
  if (next.dead()) return {};
  if (records(position.node)) position = extend_text(position, byte);
  return in_string(position, next);
}

Position DocumentMachine::step_number(Position position, std::uint8_t byte) {
  const auto state = static_cast<TextDfa::State>(position.lex);
  const TextDfa::State next = byte < 0x80 ? states_.texts().step(state, byte) : TextDfa::kDead;
  if (next != TextDfa::kDead) {
    position.lex = next;
    return records(position.node) ? extend_text(position, byte) : position;
  }
  if (!states_.texts().accepts(state)) return {};
  return step_token(after(complete_text(position, Kind::kNumber)), byte);
}

// ---- names

Position DocumentMachine::begin_name(FrameId frame) {
  const KeyText::State start = states_.key_start(word(frame, kState));
  return start == KeyText::kDead ? Position{} : at(frame, Mode::kKey, start);
}

Position DocumentMachine::step_key(Position position, std::uint8_t byte) {
  const StringState state = string_state(position);
  if (byte == '"' && state.pending == 0) {
    const FrameId read = name_read(position);
    return read == 0 ? Position{} : at(read, Mode::kColon);
  }
  const StringState next = names_.step(state, byte);
  if (next.dead()) return {};
  if (recording_ && states_.keys().others(next.text)) {
    position = longer_trail(position, byte);
  }
  return in_string(position, next);
}

DocumentMachine::FrameId DocumentMachine::name_read(Position position) {
  const KeyText::State name = string_state(position).text;
  if (!states_.keys().accepts(name)) return 0;
  const StateId object = word(position.node, kState);
  const KeyIndex key = states_.keys().known(states_.key_place(object), name);
  NameId id = kNoName;
  if (key >= states_.names(object).num_names()) {
    if (!recording_) lose_name(position.node);
    if (recording_) id = obligations_.name_id(unescaped_trail(position));
  }
  const DocumentStates::Step step = states_.member(object, key, id);
  if (step.value == 0) return 0;
  const FrameId of = position.node;
  std::uint32_t record = word(of, kRecord);
  if (record != 0) {
    if (key < states_.names(object).num_names()) id = states_.names(object).name(key);
    record = longer_record(record, id);
  }
  return frame(kind(of), word(of, kParent), step.state, step.value, record, word(of, kDepth));
}

}  // namespace tessera::guided
