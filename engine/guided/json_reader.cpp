#include "engine/guided/json_reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

bool all_ascii(std::string_view text) {
  unsigned char seen = 0;
  for (const char byte : text) seen |= static_cast<unsigned char>(byte);
  return seen < 0x80;
}

// Eight bytes at a time: whether one of them ends a plain run of a string (a quote, a backslash, a
// control character). The usual trick: x - 0x01.. borrows where a byte is zero.
bool has_special(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighs = 0x8080808080808080;
  const auto zero_in = [](std::uint64_t x) { return (x - kOnes) & ~x & kHighs; };
  const std::uint64_t below_space = (word - kOnes * 0x20) & ~word & kHighs;
  return (zero_in(word ^ (kOnes * '"')) | zero_in(word ^ (kOnes * '\\')) | below_space) != 0;
}

int hex_value(char byte) {
  if (is_digit(byte)) return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

}  // namespace

std::string brief(std::string text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xC0) == 0x80) --max_bytes;
  text.resize(max_bytes);
  return text + "...";
}

// One text being read. `open_` is the innermost container that is not closed.
class JsonTree::Reader {
 public:
  Reader(JsonTree& tree, std::string_view source, int max_depth, std::size_t max_findings,
         GuidedFindings& findings)
      : tree_(tree),
        nodes_(tree.nodes_),
        source_(source),
        max_depth_(max_depth),
        max_findings_(max_findings),
        findings_(findings) {}

  std::optional<JsonIndex> read() {
    const std::size_t findings_before = findings_.size();
    if (!all_ascii(source_) && !is_utf8(source_)) {
      fail("the text is not UTF-8");
      return std::nullopt;
    }
    const auto root = static_cast<JsonIndex>(nodes_.size());
    nodes_.reserve(nodes_.size() + source_.size() / 12 + 4);
    if (!read_document() || findings_.size() != findings_before) return std::nullopt;
    return root;
  }

 private:
  bool fail(std::string reason) {
    if (findings_.size() < max_findings_) {
      findings_.push_back({.pointer = open_ == kNoJson ? "" : brief(tree_.pointer(open_)),
                           .keyword = "",
                           .reason = "invalid JSON: " + std::move(reason),
                           .offset = at_,
                           .kind = FindingKind::kInvalid});
    }
    return false;
  }

  bool fail_here(std::string_view expected) {
    if (at_ >= source_.size()) return fail("it ends where " + std::string(expected) + " must come");
    return fail("expected " + std::string(expected) + " at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < source_.size()) {
      const char byte = source_[at_];
      if (byte != ' ' && byte != '\n' && byte != '\t' && byte != '\r') return;
      ++at_;
    }
  }

  bool take(char byte) {
    if (at_ >= source_.size() || source_[at_] != byte) return false;
    ++at_;
    return true;
  }

  bool read_document() {
    skip_space();
    if (!read_value({})) return false;
    while (open_ != kNoJson) {
      if (!read_in_container()) return false;
    }
    skip_space();
    return at_ == source_.size() || fail_here("the end");
  }

  // The next member or item of the open container, or its end.
  bool read_in_container() {
    const bool is_object = nodes_[open_].kind == JsonKind::kObject;
    skip_space();
    if (take(is_object ? '}' : ']')) return close();
    if (nodes_[open_].count > 0) {
      if (!take(',')) return fail_here(is_object ? "',' or '}'" : "',' or ']'");
      skip_space();
    }
    ++nodes_[open_].count;
    if (!is_object) return read_value({});
    std::string_view name;
    if (at_ >= source_.size() || source_[at_] != '"') return fail_here("a member's name");
    if (!read_string(name)) return false;
    skip_space();
    if (!take(':')) return fail_here("':'");
    skip_space();
    return read_value(name);
  }

  JsonNode& add(JsonKind kind, std::string_view name) {
    const auto index = static_cast<JsonIndex>(nodes_.size());
    nodes_.push_back({.kind = kind,
                      .offset = static_cast<std::uint32_t>(at_),
                      .parent = open_,
                      .next = index + 1,
                      .name = name});
    return nodes_.back();
  }

  bool read_value(std::string_view name) {
    if (at_ >= source_.size()) return fail_here("a value");
    switch (source_[at_]) {
      case '{':
        return open(JsonKind::kObject, name);
      case '[':
        return open(JsonKind::kArray, name);
      case '"': {
        add(JsonKind::kString, name);
        std::string_view text;
        if (!read_string(text)) return false;
        nodes_.back().text = text;
        return true;
      }
      case 't':
        return read_word("true", JsonKind::kBoolean, name, true);
      case 'f':
        return read_word("false", JsonKind::kBoolean, name, false);
      case 'n':
        return read_word("null", JsonKind::kNull, name, false);
      default:
        return read_number(name);
    }
  }

  bool open(JsonKind kind, std::string_view name) {
    if (++depth_ > max_depth_) {
      return fail("nested deeper than " + std::to_string(max_depth_) + " levels");
    }
    add(kind, name);
    open_ = static_cast<JsonIndex>(nodes_.size() - 1);
    ++at_;
    return true;
  }

  bool close() {
    JsonNode& node = nodes_[open_];
    node.next = static_cast<JsonIndex>(nodes_.size());
    if (node.kind == JsonKind::kObject) check_names(open_);
    open_ = nodes_[open_].parent;
    --depth_;
    return true;
  }

  void check_names(JsonIndex object) {
    const JsonNode& node = nodes_[object];
    if (node.count < kIndexedFrom) {
      for (JsonIndex a = object + 1; a != node.next; a = nodes_[a].next) {
        for (JsonIndex b = object + 1; b != a; b = nodes_[b].next) {
          if (nodes_[a].name == nodes_[b].name) twice(a);
        }
      }
      return;
    }
    scratch_.clear();
    for (JsonIndex a = object + 1; a != node.next; a = nodes_[a].next) scratch_.push_back(a);
    std::sort(scratch_.begin(), scratch_.end(), [&](JsonIndex a, JsonIndex b) {
      if (nodes_[a].name == nodes_[b].name) return a < b;
      return name_less(nodes_[a].name, nodes_[b].name);
    });
    for (std::size_t i = 1; i < scratch_.size(); ++i) {
      if (nodes_[scratch_[i - 1]].name == nodes_[scratch_[i]].name) twice(scratch_[i]);
    }
  }

  void twice(JsonIndex member) {
    if (findings_.size() >= max_findings_) return;
    findings_.push_back({.pointer = brief(tree_.pointer(member)),
                         .keyword = brief(std::string(nodes_[member].name)),
                         .reason = "the member is given twice in one object",
                         .offset = nodes_[member].offset,
                         .kind = FindingKind::kInvalid});
  }

  bool read_word(std::string_view word, JsonKind kind, std::string_view name, bool value) {
    if (source_.substr(at_, word.size()) != word) return fail_here("a value");
    add(kind, name).boolean = value;
    at_ += word.size();
    return true;
  }

  bool read_number(std::string_view name) {
    const std::size_t begin = at_;
    JsonNode& node = add(JsonKind::kNumber, name);
    take('-');
    if (!take('0') && !skip_digits()) return fail_here("a value");
    if (take('.') && !skip_digits()) return fail_here("a digit");
    if (at_ < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E')) {
      ++at_;
      if (!take('+')) take('-');
      if (!skip_digits()) return fail_here("a digit");
    }
    node.text = source_.substr(begin, at_ - begin);
    return true;
  }

  bool skip_digits() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && is_digit(source_[at_])) ++at_;
    return at_ != begin;
  }

  void skip_plain() {
    while (at_ + 8 <= source_.size()) {
      std::uint64_t word = 0;
      std::memcpy(&word, source_.data() + at_, 8);
      if (has_special(word)) break;
      at_ += 8;
    }
    while (at_ < source_.size()) {
      const auto byte = static_cast<unsigned char>(source_[at_]);
      if (byte == '"' || byte == '\\' || byte < 0x20) return;
      ++at_;
    }
  }

  // `at_` is on the opening quote; afterwards behind the closing one.
  bool read_string(std::string_view& text) {
    const std::size_t begin = ++at_;
    skip_plain();
    if (take('"')) {
      text = source_.substr(begin, at_ - 1 - begin);
      return true;
    }
    std::string& decoded = tree_.decoded_.emplace_back(source_.substr(begin, at_ - begin));
    for (;;) {
      if (take('"')) break;
      if (!take('\\')) return fail_here("'\"'");
      if (!read_escape(decoded)) return false;
      const std::size_t plain = at_;
      skip_plain();
      decoded.append(source_, plain, at_ - plain);
    }
    text = decoded;
    return true;
  }

  bool read_escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (at_ >= source_.size()) return fail_here("an escape");
    const std::size_t letter = kLetters.find(source_[at_]);
    if (letter != std::string_view::npos) {
      out.push_back(kMeanings[letter]);
      ++at_;
      return true;
    }
    if (!take('u')) return fail_here("an escape");
    return read_code_point(out);
  }

  bool read_code_point(std::string& out) {
    const int high = read_hex();
    if (high < 0) return fail_here("four hexadecimal digits");
    char32_t code_point = static_cast<char32_t>(high);
    if (high >= 0xDC00 && high < 0xE000) return fail("a low surrogate without a high one");
    if (high >= 0xD800 && high < 0xDC00) {
      const bool escaped = take('\\') && take('u');
      const int low = escaped ? read_hex() : -1;
      if (low < 0xDC00 || low >= 0xE000) return fail("a high surrogate without a low one");
      code_point = 0x10000 + ((code_point - 0xD800) << 10) + (static_cast<char32_t>(low) - 0xDC00);
    }
    append_utf8(out, code_point);
    return true;
  }

  int read_hex() {
    if (at_ + 4 > source_.size()) return -1;
    int value = 0;
    for (int i = 0; i < 4; ++i) {
      const int digit = hex_value(source_[at_ + static_cast<std::size_t>(i)]);
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    at_ += 4;
    return value;
  }

  JsonTree& tree_;
  std::vector<JsonNode>& nodes_;
  std::string_view source_;
  int max_depth_;
  std::size_t max_findings_;
  GuidedFindings& findings_;
  std::size_t at_ = 0;
  int depth_ = 0;
  JsonIndex open_ = kNoJson;
  std::vector<JsonIndex> scratch_;
};

std::optional<JsonIndex> JsonTree::append(std::string_view source, int max_depth,
                                          std::size_t max_findings, GuidedFindings& findings) {
  return Reader(*this, source, max_depth, max_findings, findings).read();
}

}  // namespace tessera::guided
