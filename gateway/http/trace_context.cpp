#include "gateway/http/trace_context.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "storage/ids.hpp"

namespace tessera {
namespace {

// "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff"
constexpr std::size_t kTraceAt = 3;
constexpr std::size_t kTraceChars = 32;
constexpr std::size_t kParentAt = 36;
constexpr std::size_t kParentChars = 16;
constexpr std::size_t kFlagsAt = 53;
constexpr std::size_t kChars = 55;  // of version 00; later ones may go on behind a dash

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view digits) {
  return std::ranges::all_of(digits, [](char c) { return c == '0'; });
}

bool is_well_formed(std::string_view value) {
  if (value.size() < kChars) return false;
  const std::string_view version = value.substr(0, 2);
  if (!is_hex(version) || version == "ff") return false;
  if (value.size() > kChars && (version == "00" || value[kChars] != '-')) return false;
  return value[kTraceAt - 1] == '-' && value[kParentAt - 1] == '-' && value[kFlagsAt - 1] == '-' &&
         is_hex(value.substr(kTraceAt, kTraceChars)) &&
         is_hex(value.substr(kParentAt, kParentChars)) && is_hex(value.substr(kFlagsAt, 2));
}

std::string new_span_id() {
  std::array<std::byte, kParentChars / 2> bytes{};
  random_bytes(bytes.data(), bytes.size());
  bytes[0] |= std::byte{1};  // zero is no span
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[std::to_integer<std::size_t>(byte) >> 4];
    text += kDigits[std::to_integer<std::size_t>(byte) & 15];
  }
  return text;
}

}  // namespace

std::optional<TraceContext> trace_of(const Headers& headers) {
  constexpr std::string_view kName = "traceparent";
  const std::string_view value = trim(header(headers, kName));
  if (value.empty() || !is_well_formed(value)) return std::nullopt;
  const auto is_one = [](const auto& field) { return field.first == kName; };
  if (std::ranges::count_if(headers, is_one) != 1) return std::nullopt;
  const std::string_view trace = value.substr(kTraceAt, kTraceChars);
  const std::string_view parent = value.substr(kParentAt, kParentChars);
  if (is_zero(trace) || is_zero(parent)) return std::nullopt;
  return TraceContext{.trace_id = std::string(trace),
                      .parent_id = std::string(parent),
                      .span_id = new_span_id(),
                      .sampled = (hex_value(value[kFlagsAt + 1]) & 1) != 0};
}

std::string traceparent(const TraceContext& trace) {
  return "00-" + trace.trace_id + '-' + trace.span_id + (trace.sampled ? "-01" : "-00");
}

}  // namespace tessera
