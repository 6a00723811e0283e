#include "gateway/api/preconditions.hpp"

#include <optional>

#include "gateway/http/header_guard.hpp"

namespace tessera {
namespace {

constexpr std::size_t kMaxEtags = 16;

Error malformed(const char* name, const char* expected) {
  return {Code::kInvalidValue, std::string(name) + " must be " + expected + ".", name};
}

// Cuts the next entity tag off `list`, with what separates it from the one after it.
std::optional<std::string> cut_etag(std::string_view& list) {
  const std::size_t mark = list.starts_with("W/") ? 2 : 0;
  if (list.size() <= mark || list[mark] != '"') return std::nullopt;
  const auto end = list.find('"', mark + 1);
  if (end == list.npos) return std::nullopt;
  std::string etag(list.substr(0, end + 1));
  list = trim(list.substr(end + 1));
  if (list.empty()) return etag;
  if (list.front() != ',') return std::nullopt;
  list = trim(list.substr(1));
  return list.empty() ? std::nullopt : std::optional(std::move(etag));
}

}  // namespace

Result<Precondition> precondition_of(const Headers& headers) {
  Precondition precondition;
  const std::string_view none = trim(header(headers, "if-none-match"));
  precondition.must_be_absent = none == "*";
  if (!none.empty() && none != "*") return malformed("If-None-Match", "'*' here");
  std::string_view list = trim(header(headers, "if-match"));
  precondition.must_exist = list == "*";
  if (precondition.must_exist) return precondition;
  while (!list.empty()) {
    auto etag = cut_etag(list);
    if (!etag || precondition.etags.size() == kMaxEtags) {
      return malformed("If-Match", "'*' or a list of entity tags, as ETag gave them");
    }
    precondition.etags.push_back(*std::move(etag));
  }
  return precondition;
}

}  // namespace tessera
