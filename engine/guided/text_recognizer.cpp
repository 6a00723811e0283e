#include "engine/guided/text_recognizer.hpp"

#include <algorithm>
#include <array>

#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

// Position::mode while a code point is being read: how many bytes it has, how many are still to
// come, and the bits so far.
constexpr unsigned kLengthShift = 28;
constexpr unsigned kLeftShift = 24;
constexpr std::uint32_t kBits = (1U << kLeftShift) - 1;

// The least code point that takes so many bytes.
constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
constexpr char32_t kSurrogates = 0xD800;
constexpr char32_t kSurrogatesEnd = 0xE000;

}  // namespace

Position TextRecognizer::at(TextDfa::State state) const {
  return state == TextDfa::kDead ? Position{} : Position{.node = 1, .mode = 0, .lex = state};
}

Position TextRecognizer::start() {
  return at(dfa_.start(language_));
}

Position TextRecognizer::step(Position position, std::uint8_t byte) {
  if (position.mode != 0) return continue_code_point(position, byte);
  if (byte >= 0x80) return begin_code_point(position, byte);
  return at(dfa_.step(static_cast<TextDfa::State>(position.lex), byte));
}

Position TextRecognizer::begin_code_point(Position position, std::uint8_t lead) {
  if (lead < 0xC2 || lead > 0xF4) return {};
  const std::uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return pending(position, length, length - 1, lead & (0x7FU >> length));
}

Position TextRecognizer::continue_code_point(Position position, std::uint8_t byte) {
  if ((byte & 0xC0U) != 0x80) return {};
  const std::uint32_t length = position.mode >> kLengthShift;
  const std::uint32_t left = (position.mode >> kLeftShift & 7U) - 1;
  const char32_t bits = (position.mode & kBits) << 6U | (byte & 0x3FU);
  if (left > 0) return pending(position, length, left, bits);
  const bool surrogate = bits >= kSurrogates && bits < kSurrogatesEnd;
  if (bits < kLeast[length] || bits >= kCodePointEnd || surrogate) return {};
  return at(dfa_.step(static_cast<TextDfa::State>(position.lex), bits));
}

// Alive if one of the code points that begin so is.
Position TextRecognizer::pending(Position position, std::uint32_t length, std::uint32_t left,
                                 char32_t bits) {
  char32_t begin = std::max<char32_t>(bits << 6 * left, kLeast[length]);
  char32_t end = std::min<char32_t>((bits + 1) << 6 * left, kCodePointEnd);
  if (begin < kSurrogates) {
    end = end > kSurrogates && end <= kSurrogatesEnd ? kSurrogates : end;
  } else if (begin < kSurrogatesEnd) {
    begin = kSurrogatesEnd;
  }
  if (begin >= end || !dfa_.any_step(static_cast<TextDfa::State>(position.lex), begin, end)) {
    return {};
  }
  position.mode = length << kLengthShift | left << kLeftShift | bits;
  return position;
}

bool TextRecognizer::accepting(Position position) {
  return !position.dead() && position.mode == 0 &&
         dfa_.accepts(static_cast<TextDfa::State>(position.lex));
}

bool TextRecognizer::finished(Position position) {
  return accepting(position) &&
         !dfa_.any_step(static_cast<TextDfa::State>(position.lex), 0, kCodePointEnd);
}

MaskKey TextRecognizer::mask_key(Position position) {
  return {.high = position.mode, .low = dfa_.mask_state(static_cast<TextDfa::State>(position.lex))};
}

ByteLoop TextRecognizer::loop(Position position) {
  if (position.mode != 0) return {};
  const TextLoop loop = dfa_.loop(static_cast<TextDfa::State>(position.lex));
  if (loop.set == 0) return {};
  return {.set = &dfa_.loop_set(loop.set),
          .remaining = loop.remaining,
          .same = loop.same == 0 ? nullptr : &dfa_.loop_set(loop.same)};
}

TextClasses TextRecognizer::classes_of(std::uint32_t region) const {
  if (region == TextDfa::kNoRegion) return {};
  return {.classes = &dfa_.region_classes(region), .number = region, .quoted = false};
}

TextClasses TextRecognizer::text_classes(Position position) {
  return classes_of(dfa_.region(static_cast<TextDfa::State>(position.lex)));
}

TextClasses TextRecognizer::refine_classes(Position from, Position at) {
  return classes_of(dfa_.refine_region(static_cast<TextDfa::State>(from.lex),
                                       static_cast<TextDfa::State>(at.lex)));
}

void TextRecognizer::fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) {
  walk_.fill(*this, position, vocabulary, mask);
}

std::optional<std::uint8_t> TextRecognizer::forced(Position position) {
  const char32_t only = dfa_.forced(static_cast<TextDfa::State>(position.lex));
  if (only == 0) return std::nullopt;
  std::string utf8;
  append_utf8(utf8, only);
  const std::size_t read =
      position.mode == 0 ? 0 : (position.mode >> kLengthShift) - (position.mode >> kLeftShift & 7U);
  return static_cast<std::uint8_t>(utf8[read]);
}

std::string TextRecognizer::shortest_rest(Position position) {
  std::string rest;
  while (position.mode != 0) {
    for (std::uint8_t byte = 0x80; byte < 0xC0; ++byte) {
      const Position next = step(position, byte);
      if (next.dead()) continue;
      rest += static_cast<char>(byte);
      position = next;
      break;
    }
  }
  return rest + dfa_.shortest_rest(static_cast<TextDfa::State>(position.lex));
}

std::size_t TextRecognizer::bytes() const {
  return dfa_.bytes() + pool_.bytes();
}

}  // namespace tessera::guided
