#include "tenancy/slug.hpp"

#include <algorithm>

namespace tessera {
namespace {

// ASCII only, whatever the locale.
bool is_lower(char c) {
  return 'a' <= c && c <= 'z';
}
bool is_upper(char c) {
  return 'A' <= c && c <= 'Z';
}
bool is_digit(char c) {
  return '0' <= c && c <= '9';
}
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

}  // namespace

Result<void> check_name(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxNameBytes && std::ranges::none_of(name, is_control)) {
    return {};
  }
  return Error{Code::kInvalidValue, "A name is 1 to 256 bytes without control characters.", "name"};
}

bool is_slug(std::string_view text) {
  const auto allowed = [](char c) { return is_lower(c) || is_digit(c) || c == '-'; };
  return !text.empty() && text.size() <= kMaxSlugChars && text.front() != '-' &&
         text.back() != '-' && std::ranges::all_of(text, allowed);
}

std::string slug_of(std::string_view name) {
  std::string slug;
  for (const char c : name) {
    if (is_lower(c) || is_digit(c)) {
      slug.push_back(c);
    } else if (is_upper(c)) {
      slug.push_back(static_cast<char>(c - 'A' + 'a'));
    } else if (!slug.empty() && slug.back() != '-') {
      slug.push_back('-');
    }
  }
  slug.resize(std::min(slug.size(), kMaxSlugChars - 7));
  while (slug.ends_with('-')) slug.pop_back();
  return slug.empty() ? "project" : slug;
}

}  // namespace tessera
