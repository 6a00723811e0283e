#include "storage/last_moved.hpp"

#include <algorithm>

namespace tessera {

const std::string* LastMoved::find(const Batch::Expect& expected) const {
  const auto& last = last_[static_cast<std::size_t>(expected.family)];
  return last && last->key == expected.key ? &last->value : nullptr;
}

void LastMoved::note_applied(const Batch& batch) {
  for (const auto& put : batch.puts) note_put(put);
  for (const auto& erase : batch.erases) {
    auto& last = of(erase.family);
    if (last && last->key == erase.key) last.reset();
  }
  for (const auto& expected : batch.expectations) note_moved(batch, expected);
}

void LastMoved::note_put(const Batch::Put& put) {
  auto& last = of(put.family);
  if (last && last->key == put.key) last->value = put.value;
}

// A key that had no value was made, not moved: it takes nobody's place here.
void LastMoved::note_moved(const Batch& batch, const Batch::Expect& expected) {
  if (!expected.value || find(expected)) return;
  const auto is_it = [&](const Batch::Put& put) {
    return put.family == expected.family && put.key == expected.key;
  };
  const auto put = std::find_if(batch.puts.rbegin(), batch.puts.rend(), is_it);
  if (put == batch.puts.rend()) return;
  const bool is_erased = std::ranges::any_of(batch.erases, [&](const Batch::Erase& erase) {
    return erase.family == put->family && erase.key == put->key;
  });
  if (!is_erased) of(put->family) = *put;
}

}  // namespace tessera
