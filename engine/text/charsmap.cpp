#include "engine/text/charsmap.hpp"

#include <algorithm>
#include <cstring>

#include "engine/text/grapheme.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

constexpr std::size_t kClusterMax = 6;  // bytes: clusters shorter than this are looked up whole

// A unit of a Darts double array: a label, whether a key ends here, where the children are.
std::uint32_t label_of(std::uint32_t unit) {
  return unit & 0x800000FFU;
}
bool ends_key(std::uint32_t unit) {
  return ((unit >> 8U) & 1U) != 0;
}
std::uint32_t offset_of(std::uint32_t unit) {
  return (unit >> 10U) << ((unit & 0x200U) >> 6U);
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}

}  // namespace

Result<Charsmap> Charsmap::read(std::string_view blob) {
  std::uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes) return Error{Code::kCorrupt, "is too short"};
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes > blob.size() || trie_bytes % sizeof(std::uint32_t) != 0) {
    return Error{Code::kCorrupt, "says a size that it does not have"};
  }
  Charsmap map;
  map.trie_.resize(trie_bytes / sizeof(std::uint32_t));
  if (trie_bytes > 0) std::memcpy(map.trie_.data(), blob.data(), trie_bytes);
  map.texts_ = blob.substr(trie_bytes);
  for (std::size_t begin = 0; begin < map.texts_.size();) {
    const std::size_t end = std::min(map.texts_.find('\0', begin), map.texts_.size());
    map.longest_text_ = std::max(map.longest_text_, end - begin);
    begin = end + 1;
  }
  return map;
}

std::optional<std::string_view> Charsmap::find(std::string_view text) const {
  if (trie_.empty()) return std::nullopt;
  std::size_t node = offset_of(trie_[0]);
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte == 0) break;
    node ^= byte;
    if (node >= trie_.size() || label_of(trie_[node]) != byte) break;
    const std::uint32_t unit = trie_[node];
    node ^= offset_of(unit);
    if (!ends_key(unit)) continue;
    if (node >= trie_.size()) break;
    const std::size_t begin = value_of(trie_[node]);
    if (begin > texts_.size()) break;
    const std::string_view from = std::string_view(texts_).substr(begin);
    return from.substr(0, from.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::string_view cluster = text.substr(0, grapheme_bytes(text));
    text.remove_prefix(cluster.size());
    if (cluster.size() < kClusterMax) {
      if (const auto rewritten = find(cluster)) {
        out += *rewritten;
        continue;
      }
    }
    while (!cluster.empty()) {
      const std::string_view character = cluster.substr(0, utf8_step(cluster).bytes);
      out += find(character).value_or(character);
      cluster.remove_prefix(character.size());
    }
  }
  // A table is a file's: what it rewrites to need not be text.
  return is_utf8(out) ? out : repair_utf8(out);
}

}  // namespace tessera
