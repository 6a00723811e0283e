#include "adapters/model_name.hpp"

#include <algorithm>
#include <charconv>

namespace tessera {
namespace {

constexpr std::string_view kFineTuned = "ft:";

// Cuts `text` at its last ':' and returns what follows it; nullopt if there is none.
std::optional<std::string_view> cut_last(std::string_view& text) {
  const auto mark = text.rfind(':');
  if (mark == text.npos) return std::nullopt;
  const std::string_view last = text.substr(mark + 1);
  text = text.substr(0, mark);
  return last;
}

// What follows "ft:". From its end, for a base's name may have colons.
std::optional<ModelName> parse_fine_tuned(std::string_view text, std::string_view base,
                                          const TenantId& tenant) {
  const auto number = cut_last(text);
  const auto name = number ? cut_last(text) : std::nullopt;
  const auto owner = name ? cut_last(text) : std::nullopt;
  if (!owner || *owner != tenant.str() || text != base) return std::nullopt;
  const auto version = parse_version_number(*number);
  if (!version) return std::nullopt;
  return ModelName{.adapter = *name, .version = *version};
}

}  // namespace

bool is_valid_adapter_name(std::string_view name) {
  constexpr std::size_t kMaxName = 63;
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  const auto is_allowed = [&](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxName && is_alphanumeric(name.front()) &&
         std::ranges::all_of(name, is_allowed);
}

std::optional<int> parse_version_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  if (!is_whole || text.front() == '0' || number < 1) return std::nullopt;
  return number;
}

std::optional<ModelName> parse_model_name(std::string_view text, std::string_view base,
                                          const TenantId& tenant) {
  if (text.starts_with(kFineTuned) && std::ranges::count(text, ':') >= 4) {
    return parse_fine_tuned(text.substr(kFineTuned.size()), base, tenant);
  }
  const auto mark = text.find_first_of("@:");
  if (mark == text.npos) return ModelName{.adapter = text};
  const std::string_view name = text.substr(0, mark);
  const std::string_view rest = text.substr(mark + 1);
  if (text[mark] == ':') {
    if (!is_valid_adapter_name(rest)) return std::nullopt;
    return ModelName{.adapter = name, .alias = rest};
  }
  const auto version = parse_version_number(rest);
  if (!version) return std::nullopt;
  return ModelName{.adapter = name, .version = *version};
}

Error model_not_found(std::string_view model) {
  return {Code::kModelNotFound,
          "The model `" + std::string(model) + "` does not exist or you do not have access to it.",
          "model"};
}

}  // namespace tessera
