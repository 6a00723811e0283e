// mask_store.hpp — the masks of one recognizer: by key, and each content once.
//
// Equal keys have equal masks, so most masks are found and not made; different keys often have
// equal masks all the same (the inside of any free string that is followed by a comma), so contents
// are interned too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_mask.hpp"

namespace tessera::guided {

// Not thread-safe; the masks it hands out are.
class MaskStore {
 public:
  // Whether the text may end decides about the end tokens, which the recognizer knows nothing of.
  struct Key {
    MaskKey mask;
    bool accepting = false;

    bool operator==(const Key&) const = default;
  };
  using Mask = std::shared_ptr<const TokenMask>;

  // nullptr if there is none. The pointer stays good as long as the store.
  const Mask* find(const Key& key) const;
  const Mask* add(const Key& key, const TokenMask& mask);
  // A mask that no key finds.
  const Mask* add_unkeyed(const TokenMask& mask);

  std::size_t num_keys() const { return by_key_.size(); }
  std::size_t num_masks() const { return by_content_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };

  const Mask& intern(const TokenMask& mask);

  std::unordered_map<Key, Mask, KeyHash> by_key_;
  std::unordered_multimap<std::uint64_t, Mask> by_content_;
  std::size_t bytes_ = 0;
};

}  // namespace tessera::guided
