// Texts and values that have to be known: names that no schema declares, items that are compared.

#include <algorithm>
#include <array>

#include "engine/guided/document_machine.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

// A name as it stood between quotes: valid, so it is read without checks.
class Unescaper {
 public:
  explicit Unescaper(std::string_view raw) : raw_(raw) {}

  std::string run() {
    while (at_ < raw_.size()) {
      const char c = raw_[at_++];
      if (c != '\\') {
        out_ += c;
      } else {
        escape(raw_[at_++]);
      }
    }
    return std::move(out_);
  }

 private:
  void escape(char c) {
    static constexpr std::string_view kLetters = "bfnrt";
    static constexpr std::string_view kMeant = "\b\f\n\r\t";
    if (c == 'u') {
      unicode();
    } else if (const std::size_t i = kLetters.find(c); i != std::string_view::npos) {
      out_ += kMeant[i];
    } else {
      out_ += c;
    }
  }

  void unicode() {
    char32_t unit = hex();
    if (unit >= 0xD800 && unit < 0xDC00) {
      at_ += 2;
      unit = 0x10000 + ((unit - 0xD800) << 10) + (hex() - 0xDC00);
    }
    append_utf8(out_, unit);
  }

  char32_t hex() {
    char32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = raw_[at_++];
      value = value * 16 + static_cast<char32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
  }

  std::string_view raw_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::uint32_t DocumentMachine::longer_record(std::uint32_t record, std::uint32_t next) {
  if (record == 0) return 0;
  const auto from = records_[record];
  std::vector<std::uint32_t> words(from.begin(), from.end());
  words.push_back(next);
  return records_.intern(words);
}

ValueId DocumentMachine::recorded_value(FrameId of) {
  if (word(of, kRecord) == 0) return kNoValue;
  const auto words = records_[word(of, kRecord)].subspan(1);
  if (std::ranges::find(words, kNoValue) != words.end()) return kNoValue;
  if (kind(of) == FrameKind::kArray) return obligations_.values().array(words);
  std::vector<ValueTable::Member> members;
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    members.emplace_back(obligations_.name(words[i]), words[i + 1]);
  }
  return obligations_.values().object(members);
}

ValueId DocumentMachine::text_value(Position position, Kind kind) {
  if (trail(position) == kLostTrail) return kNoValue;
  const std::string text = trail_text(position);
  if (kind == Kind::kString) return obligations_.values().string(Unescaper(text).run());
  const std::optional<Decimal> number = Decimal::parse(text);
  return number ? obligations_.values().number(*number) : kNoValue;
}

Position DocumentMachine::longer_trail(Position position, std::uint8_t byte) {
  const std::uint32_t longer = trails_.intern(std::array<std::uint32_t, 2>{trail(position), byte});
  if (longer >= kLostTrail) throw FuelExhausted{};
  position.mode = longer << 10 | (position.mode & 1023U);
  return position;
}

// A mask does not follow what is read of a string: what that changes is looked at afterwards
// (check_repeats()).
Position DocumentMachine::extend_text(Position position, std::uint8_t byte) {
  if (!recording_ && mode_of(position) == Mode::kString) position.mode |= kLostTrail << 10;
  return trail(position) == kLostTrail ? position : longer_trail(position, byte);
}

std::string DocumentMachine::trail_text(Position position) const {
  std::string text;
  for (std::uint32_t at = trail(position); at != 0; at = trails_[at][0]) {
    text += static_cast<char>(trails_[at][1]);
  }
  return {text.rbegin(), text.rend()};
}

std::string DocumentMachine::unescaped_trail(Position position) const {
  return Unescaper(trail_text(position)).run();
}

}  // namespace tessera::guided
