// hash_chain.hpp — records of which none can be altered, removed or slipped in without a trace.
//
// Beside each record of a chain the store keeps a link: its number, the record's key, and
// SHA-256(hash of the link before, number, key, record). The head names the last link. Whoever
// notes a head's hash somewhere else can prove later that everything up to it is as it was: a store
// whose every link was computed anew has another hash there.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "storage/store.hpp"

namespace tessera {

using ChainHash = std::array<std::uint8_t, 32>;

enum class Chain : std::uint8_t { kUsage, kAudit };

// "usage", "audit"
std::string_view to_string(Chain chain);

// Adds to `batch` the record and its link, after those that the store and the batch have. The
// batch expects the head as it was, so that of two writers at once one fails with
// kPreconditionFailed; callers hold a lock of their own from here to Store::write. Errors:
// kCorrupt, those of Store.
Result<void> append_to_chain(const Store& store, Chain chain, const std::string& key,
                             std::string value, Batch& batch);

// Where a chain ends, for a writer that remembers it.
struct ChainEnd {
  std::uint64_t number = 0;  // of the last link; 0: there is none
  ChainHash hash{};
};
Result<ChainEnd> chain_end(const Store& store, Chain chain);

// The same for a writer that adds several records in one batch. Used by one thread; `batch`
// outlives it and is written by nobody else meanwhile.
class ChainAppender {
 public:
  // The batch will expect that the chain ends where `end` says.
  ChainAppender(Chain chain, const ChainEnd& end, Batch& batch);

  // Returns the number of the record's link.
  std::uint64_t append(const std::string& key, std::string value);
  // Puts the head, and returns where the chain ends once the batch is written. Last of all.
  ChainEnd finish();

 private:
  const Chain chain_;
  ChainEnd end_;
  Batch& batch_;
};

// Visits the links from that number on, each with the key of its record, until `visit` returns
// false. Errors: kCorrupt if one is missing or damaged; those of Store.
Result<void> scan_chain(const Store& store, Chain chain, std::uint64_t from,
                        const std::function<bool(std::uint64_t, std::string_view)>& visit);

// The last link; zero if there is none. Errors: kCorrupt, those of Store.
Result<ChainHash> chain_head(const Store& store, Chain chain);

struct ChainReport {
  std::uint64_t num_links = 0;
  ChainHash head{};                // of the last link; zero if there is none
  std::uint64_t num_unlinked = 0;  // records without a link: written before there were chains, or
                                   // slipped in
  std::uint64_t first_fault = 0;   // number of the first link that does not hold; 0: all hold
  std::string fault = {};          // what is wrong there, in one sentence

  bool holds() const { return first_fault == 0 && num_unlinked == 0; }
};

// Reads every link and record. Errors: those of Store.
Result<ChainReport> verify_chain(const Store& store, Chain chain);

}  // namespace tessera
