#include "engine/text/bpe_model.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/byte_alphabet.hpp"
#include "engine/text/tokenizer_json.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kVocabMax = std::int64_t{1} << 22;  // ids are below this
constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

std::uint64_t pair_key(TokenId left, TokenId right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32U) |
         static_cast<std::uint32_t>(right);
}

// The two halves of a merge, "a b" or ["a", "b"]; nullopt if it is neither.
std::optional<std::pair<std::string, std::string>> halves(const nlohmann::ordered_json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const auto& text = merge.get_ref<const std::string&>();
  const std::size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    return std::nullopt;
  }
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

// Options that would change ids, each of which must be off.
Result<void> refuse_variants(const nlohmann::ordered_json& node, const std::string& path) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix", "unk_token"}) {
    const nlohmann::ordered_json* field = find_field(node, name);
    if (field && *field != "") return unsupported_field(field_path(path, name), "must be null");
  }
  for (const char* name : {"fuse_unk", "byte_fallback"}) {
    auto on = bool_field(node, path, name, false);
    if (!on) return on.error();
    if (*on) return unsupported_field(field_path(path, name), "must be false");
  }
  const nlohmann::ordered_json* dropout = find_field(node, "dropout");
  if (dropout && *dropout != 0.0) {
    return unsupported_field(field_path(path, "dropout"), "must be null");
  }
  return only_fields(
      node, path,
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
}

}  // namespace

MergeTable::MergeTable(std::size_t num_merges)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * num_merges, 2)), Slot{kEmpty, {0, 0}}) {}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = ((pair * 0x9E3779B97F4A7C15U) >> 32U) & mask;
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

const MergeTable::Merge* MergeTable::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

Result<BpeModel> BpeModel::from_json(const nlohmann::ordered_json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type != "BPE") {
    return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
  }
  if (auto refused = refuse_variants(node, path); !refused) return refused.error();
  auto ignore_merges = bool_field(node, path, "ignore_merges", false);
  if (!ignore_merges) return ignore_merges.error();
  const nlohmann::ordered_json* vocabulary = find_field(node, "vocab");
  const nlohmann::ordered_json* merges = find_field(node, "merges");
  if (!vocabulary || !vocabulary->is_object()) {
    return unsupported_field(field_path(path, "vocab"), "must be an object");
  }
  if (!merges || !merges->is_array()) {
    return unsupported_field(field_path(path, "merges"), "must be a list");
  }

  BpeModel model(merges->size());
  auto read = model.read_vocabulary(*vocabulary, field_path(path, "vocab"));
  if (read) read = model.read_merges(*merges, field_path(path, "merges"));
  if (!read) return read.error();
  model.find_byte_ids();
  model.find_whole_words(*ignore_merges);
  return model;
}

Result<void> BpeModel::read_vocabulary(const nlohmann::ordered_json& vocabulary,
                                       const std::string& path) {
  for (const auto& [text, id] : vocabulary.items()) {
    if (!id.is_number_integer() || id < 0 || id >= kVocabMax) {
      return unsupported_field(field_path(path, text), "must be an id");
    }
    const auto index = id.get<std::size_t>();
    if (index >= token_texts_.size()) token_texts_.resize(index + 1);
    if (!token_texts_[index].empty()) {
      return unsupported_field(field_path(path, text), "has the id of another token");
    }
    token_texts_[index] = text;
  }
  return {};
}

void BpeModel::find_byte_ids() {
  for (std::size_t id = 0; id < token_texts_.size(); ++id) {
    const auto bytes = bytes_from_alphabet(token_texts_[id]);
    if (!bytes || bytes->size() != 1) continue;
    byte_ids_[static_cast<std::uint8_t>(bytes->front())] = static_cast<TokenId>(id);
  }
}

Result<void> BpeModel::read_merges(const nlohmann::ordered_json& merges, const std::string& path) {
  std::unordered_map<std::string_view, TokenId> id_by_text;
  for (std::size_t id = 0; id < token_texts_.size(); ++id) {
    id_by_text.emplace(token_texts_[id], static_cast<TokenId>(id));
  }
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto pair = halves(merges[rank]);
    if (!pair) return unsupported_field(item_path(path, rank), "must be a pair of tokens");
    const auto left = id_by_text.find(pair->first);
    const auto right = id_by_text.find(pair->second);
    const auto result = id_by_text.find(pair->first + pair->second);
    if (left == id_by_text.end() || right == id_by_text.end() || result == id_by_text.end()) {
      return unsupported_field(item_path(path, rank),
                               "names a token that is not in the vocabulary");
    }
    merges_.insert(left->second, right->second, {static_cast<std::int32_t>(rank), result->second});
  }
  return {};
}

void BpeModel::find_whole_words(bool ignore_merges) {
  Scratch scratch;
  std::vector<TokenId> ids;
  for (std::size_t id = 0; id < token_texts_.size(); ++id) {
    auto bytes = bytes_from_alphabet(token_texts_[id]);
    if (!bytes || bytes->empty()) continue;
    ids.clear();
    if (!ignore_merges) merge(*bytes, scratch, ids);
    const bool rebuilt = ids.size() == 1 && ids.front() == static_cast<TokenId>(id);
    if (ignore_merges || rebuilt) {
      id_by_whole_word_.emplace(std::move(*bytes), static_cast<TokenId>(id));
    }
  }
}

void BpeModel::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  scratch.word = word;
  const auto whole = id_by_whole_word_.find(scratch.word);
  if (whole != id_by_whole_word_.end()) {
    ids.push_back(whole->second);
  } else {
    merge(word, scratch, ids);
  }
}

void BpeModel::merge(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  auto& [symbols, heap, unused] = scratch;
  symbols.clear();
  heap.clear();
  for (const char c : word) {
    const TokenId id = byte_ids_[static_cast<std::uint8_t>(c)];
    if (id == kNone) continue;
    const auto position = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1, false});
  }
  if (symbols.empty()) return;
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
  for (std::int32_t at = 0; at != -1; at = symbols[static_cast<std::size_t>(at)].next) {
    ids.push_back(symbols[static_cast<std::size_t>(at)].id);
  }
}

void BpeModel::push_candidate(std::int32_t left, Scratch& scratch) const {
  const Scratch::Symbol& symbol = scratch.symbols[static_cast<std::size_t>(left)];
  if (symbol.next == -1) return;
  const TokenId right = scratch.symbols[static_cast<std::size_t>(symbol.next)].id;
  const MergeTable::Merge* merge = merges_.find(symbol.id, right);
  if (!merge) return;
  scratch.heap.push_back({merge->rank, left, merge->result});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
}

// Joins the symbol at `left` with the next one, unless what the candidate was made of has changed
// since: then the pair there, if it has a merge, is in the heap as a candidate of its own.
void BpeModel::join(std::int32_t left, TokenId result, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  Scratch::Symbol& symbol = symbols[static_cast<std::size_t>(left)];
  if (symbol.merged_away || symbol.next == -1) return;
  Scratch::Symbol& right = symbols[static_cast<std::size_t>(symbol.next)];
  const MergeTable::Merge* merge = merges_.find(symbol.id, right.id);
  if (!merge || merge->result != result) return;

  symbol.id = result;
  symbol.next = right.next;
  right.merged_away = true;
  if (right.next != -1) symbols[static_cast<std::size_t>(right.next)].previous = left;
  if (symbol.previous != -1) push_candidate(symbol.previous, scratch);
  push_candidate(left, scratch);
}

}  // namespace tessera
