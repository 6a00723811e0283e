#include "engine/guided/tag_triggers.hpp"

#include <queue>

namespace tessera::guided {
namespace {

// The code points whose UTF-8 begins with this byte, which no continuation byte does.
CodePointSet begun_by(std::uint8_t byte) {
  CodePointSet set;
  const char32_t bits = byte;
  if (byte < 0x80) set.add(bits, bits + 1);
  if (byte >= 0xC0 && byte < 0xE0) set.add((bits & 0x1FU) << 6U, ((bits & 0x1FU) + 1) << 6U);
  if (byte >= 0xE0 && byte < 0xF0) set.add((bits & 0xFU) << 12U, ((bits & 0xFU) + 1) << 12U);
  if (byte >= 0xF0 && byte < 0xF5) set.add((bits & 7U) << 18U, ((bits & 7U) + 1) << 18U);
  return set;
}

}  // namespace

TagTriggers::TagTriggers(const std::vector<std::string>& triggers) : nodes_(1) {
  for (std::uint32_t i = 0; i < triggers.size(); ++i) add(triggers[i], i);
  link();
  find_harmless();
}

void TagTriggers::add(std::string_view trigger, std::uint32_t index) {
  State at = kRoot;
  for (const char c : trigger) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (nodes_[at].next[byte] == kRoot) {
      const std::uint32_t depth = nodes_[at].depth + 1;
      nodes_.emplace_back().depth = depth;
      nodes_[at].next[byte] = static_cast<State>(nodes_.size() - 1);
    }
    at = nodes_[at].next[byte];
  }
  nodes_[at].found.push_back(index);
}

// Shorter ones first, so that the way on after a failure is there when it is needed.
void TagTriggers::link() {
  std::queue<State> queue;
  for (const State child : nodes_[kRoot].next)
    if (child != kRoot) queue.push(child);
  while (!queue.empty()) {
    const State at = queue.front();
    queue.pop();
    const State fail = nodes_[at].fail;
    const std::vector<std::uint32_t> more = nodes_[fail].found;
    nodes_[at].found.insert(nodes_[at].found.end(), more.begin(), more.end());
    for (std::size_t byte = 0; byte < 256; ++byte) {
      State& child = nodes_[at].next[byte];
      const State other = nodes_[fail].next[byte];
      if (child == kRoot) {
        child = other;
      } else {
        nodes_[child].fail = other;
        queue.push(child);
      }
    }
  }
}

// A trigger that begins in the middle of a code point leaves nothing harmless beyond ASCII.
void TagTriggers::find_harmless() {
  CodePointSet harmful;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (nodes_[kRoot].next[byte] == kRoot) continue;
    harmful.add(begun_by(static_cast<std::uint8_t>(byte)));
    if (byte >= 0x80 && byte < 0xC0) harmful.add(0x80, kCodePointEnd);
  }
  harmful.add(0xD800, 0xE000);
  harmless_ = harmful.complement();
}

}  // namespace tessera::guided
