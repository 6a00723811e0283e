#include "storage/store.hpp"

#include <utility>

namespace tessera {

Result<bool> Store::write_at_once(const Batch& batch) {
  if (auto written = write(batch, Durability::kBuffered); !written) return written.error();
  return true;
}

// Through the log, a few at a time.
Result<void> Store::ingest(Family family, std::span<const Entry> entries) {
  constexpr std::size_t kEntriesInBatch = 8;
  Batch batch;
  for (const Entry& entry : entries) {
    batch.put(family, entry.key, std::string(entry.value));
    if (batch.puts.size() < kEntriesInBatch) continue;
    auto written = write(std::exchange(batch, {}), Durability::kBuffered);
    if (!written) return written;
  }
  if (auto written = write(batch, Durability::kBuffered); !written) return written;
  return sync();
}

}  // namespace tessera
