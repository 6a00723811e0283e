// store_crash.hpp — what the crash worker writes, for it and for the test that checks it.
#pragma once

#include <optional>
#include <string>

#include "storage/store.hpp"

namespace tessera::crash {

inline constexpr int kKept = 5;  // batches whose values are there at any time

inline std::string key_of(int i) {
  return "batch " + std::to_string(i);
}

inline std::string value_of(int i, Family family) {
  const std::size_t bytes = family == Family::kChunks ? 50'000 : 10;
  return std::string(bytes, static_cast<char>('a' + i % 26)) + std::to_string(i);
}

inline Batch batch(int i) {
  Batch batch;
  const auto count = i == 0 ? std::nullopt : std::optional(std::to_string(i));
  batch.expect(Family::kMeta, "next", count).put(Family::kMeta, "next", std::to_string(i + 1));
  for (int f = 0; f < kNumFamilies; ++f) {
    const auto family = static_cast<Family>(f);
    batch.put(family, key_of(i), value_of(i, family)).erase(family, key_of(i - kKept));
  }
  return batch;
}

inline int next_batch(const Store& store) {
  const auto next = store.get(Family::kMeta, "next").value();
  return next ? std::stoi(*next) : 0;
}

}  // namespace tessera::crash
