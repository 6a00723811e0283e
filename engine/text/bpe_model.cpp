#include "engine/text/bpe_model.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <utility>

#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

constexpr std::string_view kMarker = "\xE2\x96\x81";  // ▁, SentencePiece's space
constexpr std::size_t kShortMax = 64;                 // symbols

}  // namespace

// How much of `word`, which is not empty, stands before the first marker that no merge joins to
// what is on its left.
std::size_t BpeModel::part_before_marker(std::string_view word) const {
  for (std::size_t at = 1; at < word.size(); ++at) {
    at = word.find(kMarker, at);
    if (at == word.npos) break;
    const std::string_view before = word.substr(0, at);
    if (!joined_to_markers_.contains(
            utf8_step(before.substr(last_code_point(before))).code_point)) {
      return at;
    }
  }
  return word.size();
}

void BpeModel::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (!cut_at_markers_) return encode_part(word, scratch, ids);
  while (!word.empty()) {
    const std::size_t bytes = part_before_marker(word);
    encode_part(word.substr(0, bytes), scratch, ids);
    word.remove_prefix(bytes);
  }
}

void BpeModel::encode_part(std::string_view part, Scratch& scratch,
                           std::vector<TokenId>& ids) const {
  const TokenId whole = whole_words_.find(part);
  if (whole != kNone) {
    ids.push_back(whole);
  } else {
    merge(part, scratch, ids);
  }
}

void BpeModel::append_byte_symbols(std::string_view part, std::vector<TokenId>& symbols) const {
  bool after_unknown = false;
  for (const char c : part) {
    const TokenId id = byte_ids_[static_cast<std::uint8_t>(c)];
    if (id != kNone) symbols.push_back(id);
    if (id == kNone && unknown_ != kNone && !(after_unknown && fuse_unknown_)) {
      symbols.push_back(unknown_);
    }
    after_unknown = id == kNone;
  }
}

TokenId BpeModel::symbol_of(std::string_view code_point, bool first, bool last) const {
  const bool bare = (first || prefix_.empty()) && (!last || suffix_.empty());
  if (bare && code_point.size() == 1) return ascii_ids_[static_cast<std::uint8_t>(code_point[0])];
  if (bare) return vocabulary_.ids.find(code_point);
  std::string text = first ? std::string() : prefix_;
  text += code_point;
  if (last) text += suffix_;
  return vocabulary_.ids.find(text);
}

// All of them or, if one is missing, none.
bool BpeModel::append_byte_tokens(std::string_view text, std::vector<TokenId>& symbols) const {
  const auto known = [this](char c) { return byte_ids_[static_cast<std::uint8_t>(c)] != kNone; };
  if (!std::all_of(text.begin(), text.end(), known)) return false;
  for (const char c : text) symbols.push_back(byte_ids_[static_cast<std::uint8_t>(c)]);
  return true;
}

void BpeModel::append_symbols(std::string_view part, std::vector<TokenId>& symbols) const {
  if (byte_level_) return append_byte_symbols(part, symbols);
  bool unknown_waits = false;  // it is written before the next known symbol, or fused with the next
  for (std::size_t at = 0; at < part.size();) {
    const std::size_t bytes = utf8_step(part.substr(at)).bytes;
    const std::string_view code_point = part.substr(at, bytes);
    const bool last = at + bytes == part.size();
    const TokenId id = symbol_of(code_point, at == 0, last);
    const bool first = at == 0;
    at += bytes;
    if (id != kNone) {
      if (std::exchange(unknown_waits, false)) symbols.push_back(unknown_);
      symbols.push_back(id);
      continue;
    }
    if (byte_fallback_) {
      const std::string decorated = (first ? std::string() : prefix_) + std::string(code_point) +
                                    (last ? suffix_ : std::string());
      if (append_byte_tokens(decorated, symbols)) continue;
    }
    if (unknown_ == kNone) continue;
    if (unknown_waits && !fuse_unknown_) symbols.push_back(unknown_);
    unknown_waits = true;
  }
  if (unknown_waits) symbols.push_back(unknown_);
}

void BpeModel::merge(std::string_view part, Scratch& scratch, std::vector<TokenId>& ids) const {
  scratch.ids.clear();
  append_symbols(part, scratch.ids);
  if (scratch.ids.size() > kShortMax) {
    merge_long(scratch);
  } else if (scratch.ids.size() > 1) {
    merge_short(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

void BpeModel::merge_short(Scratch& scratch) const {
  auto& [ids, merges, unused_symbols, unused_heap] = scratch;
  merges.clear();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    merges.push_back(merges_.find(ids[i], ids[i + 1]));
  }
  const auto lower_rank = [](const MergeTable::Merge& a, const MergeTable::Merge& b) {
    return a.rank < b.rank;
  };
  while (!merges.empty()) {
    const auto best = std::min_element(merges.begin(), merges.end(), lower_rank);  // the leftmost
    if (best->rank == MergeTable::kNoMerge) break;
    const auto at = static_cast<std::size_t>(best - merges.begin());
    ids[at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges.erase(best);
    if (at > 0) merges[at - 1] = merges_.find(ids[at - 1], ids[at]);
    if (at < merges.size()) merges[at] = merges_.find(ids[at], ids[at + 1]);
  }
}

void BpeModel::merge_long(Scratch& scratch) const {
  auto& [ids, unused_merges, symbols, heap] = scratch;
  symbols.clear();
  heap.clear();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto position = static_cast<std::int32_t>(i);
    symbols.push_back({ids[i], position - 1, position + 1, false});
  }
  symbols.back().next = -1;
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    push_candidate(static_cast<std::int32_t>(i), scratch);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    join(top.position, top.result, scratch);
  }
  ids.clear();
  for (std::int32_t at = 0; at != -1; at = symbols[static_cast<std::size_t>(at)].next) {
    ids.push_back(symbols[static_cast<std::size_t>(at)].id);
  }
}

void BpeModel::push_candidate(std::int32_t left, Scratch& scratch) const {
  const Scratch::Symbol& symbol = scratch.symbols[static_cast<std::size_t>(left)];
  if (symbol.next == -1) return;
  const TokenId right = scratch.symbols[static_cast<std::size_t>(symbol.next)].id;
  const MergeTable::Merge merge = merges_.find(symbol.id, right);
  if (merge.rank == MergeTable::kNoMerge) return;
  scratch.heap.push_back({merge.rank, left, merge.result});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
}

// Joins the symbol at `left` with the next one, unless what the candidate was made of has changed
// since: then the pair there, if it has a merge, is in the heap as a candidate of its own.
void BpeModel::join(std::int32_t left, TokenId result, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  Scratch::Symbol& symbol = symbols[static_cast<std::size_t>(left)];
  if (symbol.merged_away || symbol.next == -1) return;
  Scratch::Symbol& right = symbols[static_cast<std::size_t>(symbol.next)];
  const MergeTable::Merge merge = merges_.find(symbol.id, right.id);
  if (merge.rank == MergeTable::kNoMerge || merge.result != result) return;

  symbol.id = result;
  symbol.next = right.next;
  right.merged_away = true;
  if (right.next != -1) symbols[static_cast<std::size_t>(right.next)].previous = left;
  if (symbol.previous != -1) push_candidate(symbol.previous, scratch);
  push_candidate(left, scratch);
}

}  // namespace tessera
