#include "engine/guided/grammar_draft.hpp"

#include <algorithm>

namespace tessera::guided {

void GrammarFindings::add(std::size_t offset, std::string keyword, std::string reason) {
  if (findings_.size() >= limit_) return;
  offset = std::min(offset, source_.size());
  const std::string_view before = source_.substr(0, offset);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t newline = before.rfind('\n');
  const std::size_t column = newline == before.npos ? offset + 1 : offset - newline;
  findings_.push_back({.pointer = std::to_string(line) + ':' + std::to_string(column),
                       .keyword = std::move(keyword),
                       .reason = std::move(reason),
                       .offset = offset});
}

}  // namespace tessera::guided
