// document_machine.hpp — the recognizer of JSON documents, byte by byte: a stack over
// DocumentStates.
//
// A frame is a container (or the document itself) with its state and the frame around it, kept
// once, so that a stack is one number and equal stacks are equal numbers. A position is a frame,
// where in it (Mode), and the state of the token that is being read. What a frame leads to is
// remembered in it; within strings and numbers a step is one look into a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/guided/document_options.hpp"
#include "engine/guided/document_states.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/string_lexer.hpp"
#include "engine/guided/token_walk.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

// Position: `node` is a frame; `mode` a Mode, blanks in a row and a trail (the text of the token so
// far, where it has to be known); `lex` the lexer's state.
class DocumentMachine final : public Recognizer {
 public:
  // `pool` outlives it.
  DocumentMachine(SchemaGraph graph, RegexPool& pool, Fuel& fuel, const DocumentOptions& options);

  // Whether there is a document at all. Throws FuelExhausted and TooComplex.
  bool satisfiable();
  const SchemaGraph& graph() { return obligations_.graph(); }

  Position start() override;
  // Nearly all steps of a mask are within a text.
  Position step(Position position, std::uint8_t byte) override {
    if (position.lex >> 32 == 0 && stands_for_itself(byte)) {
      const auto text = static_cast<std::uint32_t>(position.lex);
      const Mode mode = mode_of(position);
      if (mode == Mode::kString && (!records(position.node) || trail(position) == kLostTrail)) {
        return in_text(position, states_.texts().step(text, byte));
      }
      if (mode == Mode::kKey && !recording_) {
        return in_text(position, states_.keys().step(text, byte));
      }
      if (mode == Mode::kNumber && !records(position.node)) {
        const Position next = in_text(position, states_.texts().step(text, byte));
        if (!next.dead()) return next;
      }
    }
    return step_anywhere(position, byte);
  }
  bool accepting(Position position) override;
  bool finished(Position position) override;
  MaskKey mask_key(Position position) override;
  ByteLoop loop(Position position) override;
  Likeness likeness(Position position) override;
  bool has_classes(Position position) override;
  TextReader text_reader(Position position) override {
    return {&states_.texts(), read_text(position), true};
  }
  Position text_position(Position position, TextDfa::State state) override {
    position.lex = mode_of(position) == Mode::kKey ? states_.keys().of_other(state) : state;
    return position;
  }
  TextClasses text_classes(Position position) override;
  bool takes_classes(Position position, const TextClasses& classes) override {
    return states_.texts().takes(read_text(position), classes.number);
  }
  TextClasses refine_classes(Position from, Position at) override;
  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override;
  std::optional<std::uint8_t> forced(Position position) override;
  std::string shortest_rest(Position position) override;
  std::size_t bytes() const override;

 private:
  enum class Mode : std::uint8_t {
    kValue,  // a value comes; the frame's `value` says which
    kString,
    kNumber,
    kLiteral,    // null, true, false: lex is Kind and the number of letters read
    kFirstName,  // behind {
    kName,       // behind , in an object
    kKey,        // in a name
    kColon,      // behind a name
    kFirstItem,  // behind [
    kAfter,      // behind a value in a container
    kDone,       // behind the document
  };
  enum class FrameKind : std::uint8_t { kDocument, kArray, kObject };
  enum Word : std::uint8_t { kKind, kParent, kState, kValueOf, kRecord, kDepth, kNumWords };
  using FrameId = std::uint32_t;

  static constexpr FrameId kUnknown = ~FrameId{0};
  static constexpr ValueId kNoValue = ~ValueId{0};
  // Trails are numbered in 22 bits; the last number is a text that is not followed.
  static constexpr std::uint32_t kLostTrail = (1U << 22U) - 1;
  // What a frame leads to; kUnknown until asked for, 0: nothing.
  struct Facts {
    FrameId object = kUnknown;  // its value is an object that begins
    FrameId array = kUnknown;
    FrameId item = kUnknown;    // its next item comes
    FrameId closed = kUnknown;  // the frame around it when it is closed
    FrameId done = kUnknown;    // its value was read, and no verdict was asked for
    std::uint64_t hash = 0;     // of its own words
    MaskKey stack;              // of its and those around it; zero until asked for
    bool records = false;       // what is read in it has to be known
  };

  static Mode mode_of(Position position) { return static_cast<Mode>(position.mode & 15U); }
  static std::uint32_t blanks(Position position) { return position.mode >> 4 & 63U; }
  static std::uint32_t trail(Position position) { return position.mode >> 10; }
  static Position at(FrameId frame, Mode mode, std::uint64_t lex = 0) {
    return {frame, static_cast<std::uint32_t>(mode), lex};
  }
  static Position in_string(Position position, StringState state) {
    position.lex = std::uint64_t{state.pending} << 32 | state.text;
    return position;
  }
  static StringState string_state(Position position) {
    return {static_cast<std::uint32_t>(position.lex),
            static_cast<std::uint32_t>(position.lex >> 32)};
  }

  std::uint32_t word(FrameId frame, Word word) const { return frames_[frame][word]; }
  FrameKind kind(FrameId frame) const { return static_cast<FrameKind>(word(frame, kKind)); }
  FrameId frame(FrameKind kind, FrameId parent, StateId state, TupleId value, std::uint32_t record,
                std::uint32_t depth);
  FrameId with_state(FrameId frame, StateId state, TupleId value);
  std::uint32_t room(std::uint32_t depth) const;

  static Position in_text(Position position, std::uint32_t text) {
    if (text == TextDfa::kDead) return {};
    position.lex = text;
    return position;
  }
  Position step_anywhere(Position position, std::uint8_t byte);
  Position step_token(Position position, std::uint8_t byte);
  Position step_structure(Position position, std::uint8_t byte);
  Position step_string(Position position, std::uint8_t byte);
  Position step_number(Position position, std::uint8_t byte);
  Position step_literal(Position position, std::uint8_t byte);
  Position step_key(Position position, std::uint8_t byte);
  Position begin_value(FrameId frame, std::uint8_t byte);
  Position begin_literal(FrameId frame, Kind kind);
  Position begin_name(FrameId frame);
  Position blank(Position position);
  Position comma(FrameId frame);
  Position close(FrameId frame);
  FrameId open(FrameId frame, FrameKind kind);
  FrameId next_item(FrameId frame);
  FrameId name_read(Position position);
  // A name that is not recorded has been read in the frame.
  void lose_name(FrameId frame) {
    const bool free = states_.names(word(frame, kState)).free() && word(frame, kRecord) == 0;
    (free ? lost_name_ : lost_text_) = true;
  }
  // The frame when its value was read.
  FrameId complete(FrameId frame, const Verdicts& verdicts, ValueId value);
  FrameId complete_text(Position position, Kind kind);
  Position after(FrameId frame) const;
  // Whether the value of the frame has to be known: its array compares items, or it is in one.
  bool records(FrameId frame) const { return facts_[frame].records; }
  // The record of what was read of a container, one word longer; 0 where there is none.
  std::uint32_t longer_record(std::uint32_t record, std::uint32_t word);
  ValueId recorded_value(FrameId frame);
  ValueId text_value(Position position, Kind kind);
  // The trail one byte longer.
  Position longer_trail(Position position, std::uint8_t byte);
  Position extend_text(Position position, std::uint8_t byte);
  std::string trail_text(Position position) const;
  std::string unescaped_trail(Position position) const;

  // The part of a text's loop set that a string may hold unescaped; whether the set is everything.
  struct RawSet {
    const CodePointSet* raw = nullptr;
    bool all = false;
  };
  RawSet raw_set(std::uint32_t set);
  ByteLoop text_loop(TextDfa::State state);
  // Of a position in a string, or in a name that is like no known one.
  TextDfa::State read_text(Position position) const {
    const TextDfa::State text = string_state(position).text;
    return mode_of(position) == Mode::kKey ? states_.keys().other(text) : text;
  }
  TextClasses classes_of(std::uint32_t region);
  static Position without_trail(Position position);
  const MaskKey& stack_key(FrameId of);
  const TokenMask& untold_mask(Position untold, const Vocabulary& vocabulary, int vocab_size);
  bool is_longer_name(Position position, std::size_t most) const;
  void fill_unrecorded(Position position, const Vocabulary& vocabulary, TokenMask& mask);
  void check_unrecorded(Position position, const Vocabulary& vocabulary, TokenMask& mask);
  void check_repeats(Position position, std::span<const MaskWord> tokens,
                     const Vocabulary& vocabulary, TokenMask& mask);

  std::string find_rest(Position position);
  std::optional<Position> close_at_once(Position position, std::string& rest);
  std::string next_piece(Position position);
  std::string next_member(FrameId frame, bool comma);
  std::string next_item_text(FrameId frame, bool comma);

  Obligations obligations_;
  DocumentStates states_;
  DocumentOptions options_;
  StringLexer strings_;
  BasicStringLexer<KeyText> names_;
  WordTable frames_;  // [0] is dead
  std::vector<Facts> facts_;
  std::unordered_map<std::uint64_t, FrameId> text_done_;  // by frame and state of the text
  WordTable trails_;                                      // parent and byte; [0] is the empty one
  WordTable records_;  // values of items, names and values of members; [0] is none
  CodePointSet raw_;   // what a string may hold unescaped
  std::unordered_map<std::uint32_t, RawSet> raw_sets_;  // of loops within strings
  TokenWalk<DocumentMachine> walk_;
  // The mask of the last text that had to be recorded, as if it had been another: what follows
  // letter by letter then differs in a few tokens.
  struct UntoldMask {
    MaskKey key;
    const Vocabulary* vocabulary = nullptr;
    TokenMask mask;
    bool lost_text = false;
    bool lost_name = false;
  };
  std::optional<UntoldMask> untold_;
  bool recording_ = true;   // off while a mask is filled
  bool lost_name_ = false;  // one of endlessly many that was not recorded was read since,
  bool lost_text_ = false;  // or a text
  FrameId start_ = 0;
};

}  // namespace tessera::guided
