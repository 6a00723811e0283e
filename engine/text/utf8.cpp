#include "engine/text/utf8.hpp"

#include <cassert>
#include <cstdint>
#include <cstring>

namespace tessera {
namespace {

// What may follow a lead byte: how many bytes, and the range of the first of them. The narrower
// ranges keep out overlong forms, surrogates and what lies beyond U+10FFFF.
struct Lead {
  int continuation_bytes;  // 0: not a lead byte
  std::uint8_t second_min;
  std::uint8_t second_max;
};

Lead lead(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

std::uint8_t byte_at(std::string_view bytes, std::size_t index) {
  return static_cast<std::uint8_t>(bytes[index]);
}

char32_t lead_bits(std::uint8_t byte, int continuation_bytes) {
  return byte & (0x3FU >> static_cast<unsigned>(continuation_bytes));
}

}  // namespace

Utf8Step utf8_step(std::string_view bytes) {
  assert(!bytes.empty());
  const std::uint8_t first = byte_at(bytes, 0);
  if (first < 0x80) return {Utf8Step::Kind::kValid, 1, first};
  const Lead follow = lead(first);
  if (follow.continuation_bytes == 0) return {Utf8Step::Kind::kInvalid, 1, kReplacement};

  const std::size_t length = static_cast<std::size_t>(follow.continuation_bytes) + 1;
  char32_t code_point = lead_bits(first, follow.continuation_bytes);
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Step::Kind::kUnfinished, i, kReplacement};
    const std::uint8_t min = i == 1 ? follow.second_min : std::uint8_t{0x80};
    const std::uint8_t max = i == 1 ? follow.second_max : std::uint8_t{0xBF};
    const std::uint8_t byte = byte_at(bytes, i);
    if (byte < min || byte > max) return {Utf8Step::Kind::kInvalid, i, kReplacement};
    code_point = (code_point << 6U) | (byte & 0x3FU);
  }
  return {Utf8Step::Kind::kValid, length, code_point};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::uint64_t eight = 0;  // most texts are mostly ASCII
    if (text.size() >= sizeof eight) {
      std::memcpy(&eight, text.data(), sizeof eight);
      if ((eight & 0x8080808080808080U) == 0) {
        text.remove_prefix(sizeof eight);
        continue;
      }
    }
    const Utf8Step step = utf8_step(text);
    if (step.kind != Utf8Step::Kind::kValid) return false;
    text.remove_prefix(step.bytes);
  }
  return true;
}

std::string repair_utf8(std::string_view text) {
  Utf8Repairer repairer;
  std::string repaired = repairer.push(text);
  repaired += repairer.flush();
  return repaired;
}

std::size_t last_code_point(std::string_view text) {
  assert(!text.empty());
  std::size_t at = text.size() - 1;
  while (at > 0 && (byte_at(text, at) & 0xC0U) == 0x80U) --at;
  return at;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | (code_point >> 6U));
    put(0x80U | (code_point & 0x3FU));
  } else if (code_point < 0x10000) {
    put(0xE0U | (code_point >> 12U));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  } else {
    put(0xF0U | (code_point >> 18U));
    put(0x80U | ((code_point >> 12U) & 0x3FU));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  }
}

std::string Utf8Repairer::push(std::string_view bytes) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_.append(bytes);
    pending_.clear();
    bytes = joined;
  }
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (step.kind == Utf8Step::Kind::kUnfinished) {
      pending_ = bytes;
      break;
    }
    out += step.kind == Utf8Step::Kind::kValid ? bytes.substr(0, step.bytes) : kReplacementUtf8;
    bytes.remove_prefix(step.bytes);
  }
  return out;
}

std::string Utf8Repairer::flush() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacementUtf8);
}

}  // namespace tessera
