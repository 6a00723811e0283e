#include "engine/guided/code_point_partition.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace tessera::guided {
namespace {

// Gives classes their numbers in the order in which they are met.
class Renumbering {
 public:
  std::uint32_t operator()(std::uint64_t label) {
    if (label < kDirect) {
      std::uint32_t& number = direct_[label];
      if (number == 0) number = ++next_;
      return number - 1;
    }
    const auto [at, added] = others_.try_emplace(label, next_ + 1);
    if (added) ++next_;
    return at->second - 1;
  }
  std::uint32_t size() const { return next_; }

 private:
  static constexpr std::uint64_t kDirect = 256;
  std::array<std::uint32_t, kDirect> direct_{};
  std::unordered_map<std::uint64_t, std::uint32_t> others_;
  std::uint32_t next_ = 0;
};

// Lower is nicer to read.
int unreadability(char32_t c) {
  if (c >= 'a' && c <= 'z') return 0;
  if (c >= '0' && c <= '9') return 1;
  if (c >= 'A' && c <= 'Z') return 2;
  if (c == ' ' || c == '-' || c == '_') return 3;
  if (c > ' ' && c < 0x7F && c != '"' && c != '\\') return 4;
  if (c == '"' || c == '\\') return 5;
  return c >= 0xA0 ? 6 : 7;
}

void choose_representatives(Partition& partition, std::uint32_t num_classes) {
  constexpr char32_t kUnset = kCodePointEnd;
  partition.representative.assign(num_classes, kUnset);
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c) {
    char32_t& best = partition.representative[partition.ascii[c]];
    if (best == kUnset || unreadability(c) < unreadability(best)) best = c;
  }
  for (std::size_t i = 0; i < partition.beyond.size(); ++i) {
    char32_t& best = partition.representative[partition.beyond[i].of];
    char32_t c = partition.beyond[i].begin;
    if (c == Partition::kAsciiEnd &&
        (i + 1 == partition.beyond.size() || partition.beyond[i + 1].begin > 0xE9)) {
      c = 0xE9;  // é rather than a control character
    }
    if (c == kSurrogateBegin) c = kSurrogateEnd;
    if (best == kUnset || unreadability(c) < unreadability(best)) best = c;
  }
}

void push_span(std::vector<Partition::Span>& spans, char32_t begin, std::uint32_t of) {
  // No class is of surrogates alone: they go with what follows them.
  if (begin > kSurrogateBegin && begin <= kSurrogateEnd) begin = kSurrogateBegin;
  if (!spans.empty() && spans.back().begin == begin) spans.pop_back();
  if (!spans.empty() && spans.back().of == of) return;
  spans.push_back({begin, of});
}

ClassMembers find_members(const Partition& partition) {
  ClassMembers members;
  members.sets.resize(partition.num_classes());
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c)
    members.sets[partition.ascii[c]].add(c, c + 1);
  const auto& beyond = partition.beyond;
  for (std::size_t i = 0; i < beyond.size(); ++i) {
    const char32_t begin = beyond[i].begin;
    const char32_t end = i + 1 < beyond.size() ? beyond[i + 1].begin : kCodePointEnd;
    CodePointSet& set = members.sets[beyond[i].of];
    set.add(begin, std::min(end, std::max(begin, kSurrogateBegin)));
    set.add(std::max(begin, kSurrogateEnd), end);
  }
  for (const CodePointSet& set : members.sets) {
    std::uint32_t size = 0;
    for (const CodePointSet::Range& range : set.ranges()) size += range.end - range.begin;
    members.sizes.push_back(size);
  }
  return members;
}

std::uint64_t hash_of(const Partition& partition) {
  std::uint64_t hash = 1;
  for (std::size_t i = 0; i < partition.ascii.size(); i += 8) {
    std::uint64_t eight = 0;
    for (std::size_t j = 0; j < 8; ++j) eight = eight << 8U | partition.ascii[i + j];
    hash = mix(hash, eight);
  }
  for (const Partition::Span& span : partition.beyond) {
    hash = mix(hash, (std::uint64_t{span.begin} << 32U) | span.of);
  }
  return hash;
}

}  // namespace

std::uint32_t Partition::class_beyond(char32_t code_point) const {
  auto behind = std::upper_bound(beyond.begin(), beyond.end(), code_point,
                                 [](char32_t c, const Span& span) { return c < span.begin; });
  return std::prev(behind)->of;
}

PartitionTable::PartitionTable() {
  const CodePointSet none;
  of_set(none);
}

const ClassMembers& PartitionTable::members(Index index) const {
  members_.resize(partitions_.size());
  auto& known = members_[index];
  if (!known) {
    known = std::make_unique<const ClassMembers>(find_members(*partitions_[index]));
    bytes_ += known->sets.size() * (sizeof(CodePointSet) + sizeof(std::uint32_t));
    for (const CodePointSet& set : known->sets) bytes_ += set.ranges().size_bytes();
  }
  return *known;
}

PartitionTable::Index PartitionTable::intern(Partition partition) {
  const std::uint64_t hash = hash_of(partition);
  const Index found = index_.find(hash, [&](Index i) {
    return partitions_[i]->ascii == partition.ascii && partitions_[i]->beyond == partition.beyond;
  });
  if (found != HashIndex::kNone) return found;
  std::uint32_t num_classes = 0;
  for (const std::uint8_t of : partition.ascii) num_classes = std::max(num_classes, of + 1U);
  for (const auto& span : partition.beyond) num_classes = std::max(num_classes, span.of + 1);
  choose_representatives(partition, num_classes);
  partition.beyond.shrink_to_fit();
  bytes_ += sizeof(Partition) + partition.beyond.capacity() * sizeof(Partition::Span) +
            partition.representative.capacity() * sizeof(char32_t);
  partitions_.push_back(std::make_unique<const Partition>(std::move(partition)));
  const auto index = static_cast<Index>(partitions_.size() - 1);
  index_.insert(hash, index);
  return index;
}

PartitionTable::Index PartitionTable::of_set(const CodePointSet& set) {
  Partition partition;
  Renumbering number;
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c) {
    partition.ascii[c] = static_cast<std::uint8_t>(number(set.contains(c) ? 1 : 0));
  }
  push_span(partition.beyond, Partition::kAsciiEnd,
            number(set.contains(Partition::kAsciiEnd) ? 1 : 0));
  for (const CodePointSet::Range& range : set.ranges()) {
    if (range.end <= Partition::kAsciiEnd) continue;
    if (range.begin > Partition::kAsciiEnd) {
      push_span(partition.beyond, range.begin, number(1));
    }
    // A set that only leaves the surrogates out goes on behind them.
    if (range.end == kSurrogateBegin && set.contains(kSurrogateEnd)) continue;
    if (range.end < kCodePointEnd) push_span(partition.beyond, range.end, number(0));
  }
  return intern(std::move(partition));
}

PartitionTable::Index PartitionTable::of_points(std::span<const char32_t> points) {
  Partition partition;
  Renumbering number;
  std::array<std::uint64_t, Partition::kAsciiEnd> labels{};
  for (const char32_t c : points) {
    if (c < Partition::kAsciiEnd) labels[c] = 1 + std::uint64_t{c};
  }
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c) {
    partition.ascii[c] = static_cast<std::uint8_t>(number(labels[c]));
  }
  if (!std::binary_search(points.begin(), points.end(), Partition::kAsciiEnd)) {
    push_span(partition.beyond, Partition::kAsciiEnd, number(0));
  }
  for (const char32_t c : points) {
    if (c < Partition::kAsciiEnd) continue;
    push_span(partition.beyond, c, number(1 + std::uint64_t{c}));
    if (c + 1 < kCodePointEnd) push_span(partition.beyond, c + 1, number(0));
  }
  return intern(std::move(partition));
}

PartitionTable::Index PartitionTable::of_labels(
    const std::array<std::uint32_t, Partition::kAsciiEnd>& labels, std::uint32_t beyond) {
  Partition partition;
  Renumbering number;
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c) {
    partition.ascii[c] = static_cast<std::uint8_t>(number(labels[c]));
  }
  push_span(partition.beyond, Partition::kAsciiEnd, number(beyond));
  return intern(std::move(partition));
}

PartitionTable::Index PartitionTable::product(Index a, Index b) {
  if (a == b || b == kWhole) return a;
  if (a == kWhole) return b;
  if (a > b) std::swap(a, b);
  const std::uint64_t hash = mix(mix(7, a), b);
  const std::uint32_t found = product_index_.find(
      hash, [&](std::uint32_t i) { return products_[i].a == a && products_[i].b == b; });
  if (found != HashIndex::kNone) return products_[found].of;

  const Partition& left = *partitions_[a];
  const Partition& right = *partitions_[b];
  Partition partition;
  Renumbering number;
  const auto label = [width = std::uint64_t{right.num_classes()}](
                         std::uint64_t l, std::uint64_t r) { return l * width + r; };
  for (char32_t c = 0; c < Partition::kAsciiEnd; ++c) {
    partition.ascii[c] = static_cast<std::uint8_t>(number(label(left.ascii[c], right.ascii[c])));
  }
  for (std::size_t i = 0, j = 0; i < left.beyond.size() && j < right.beyond.size();) {
    const char32_t begin = std::max(left.beyond[i].begin, right.beyond[j].begin);
    push_span(partition.beyond, begin, number(label(left.beyond[i].of, right.beyond[j].of)));
    const char32_t left_end = i + 1 < left.beyond.size() ? left.beyond[i + 1].begin : kCodePointEnd;
    const char32_t right_end =
        j + 1 < right.beyond.size() ? right.beyond[j + 1].begin : kCodePointEnd;
    if (left_end <= right_end) ++i;
    if (right_end <= left_end) ++j;
  }
  const Index of = intern(std::move(partition));
  products_.push_back({a, b, of});
  product_index_.insert(hash, static_cast<std::uint32_t>(products_.size() - 1));
  bytes_ += sizeof(Product) + 16;
  return of;
}

}  // namespace tessera::guided
