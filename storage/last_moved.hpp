// last_moved.hpp — of each family the key that a batch moved from one value to another, last.
//
// Who appends to a chain expects its end as the batch before has left it, every time: that answer
// is here, not among all else that was written since.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "storage/store.hpp"

namespace tessera {

// One thread at a time, in the order in which batches are applied.
class LastMoved {
 public:
  // The key's value; null if that has to be looked up.
  const std::string* find(const Batch::Expect& expected) const;
  void note_applied(const Batch& batch);
  void forget() { last_ = {}; }

 private:
  std::optional<Batch::Put>& of(Family family) { return last_[static_cast<std::size_t>(family)]; }
  void note_put(const Batch::Put& put);
  void note_moved(const Batch& batch, const Batch::Expect& expected);

  std::array<std::optional<Batch::Put>, kNumFamilies> last_;
};

}  // namespace tessera
