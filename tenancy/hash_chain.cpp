#include "tenancy/hash_chain.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "storage/digest.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

struct Kept {
  Family family;
  std::string prefix;
  char letter;  // in the keys of its links
};

Kept records_of(Chain chain) {
  if (chain == Chain::kUsage) return {Family::kLedger, keys::usage_records(), 'u'};
  return {Family::kAudit, "", 'a'};
}

using Head = ChainEnd;

std::string_view bytes_of(const ChainHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string to_text(const Head& head) {
  return keys::big_endian(head.number).append(bytes_of(head.hash));
}

std::optional<Head> parse_head(std::string_view text) {
  Head head;
  if (text.size() != sizeof head.number + head.hash.size()) return std::nullopt;
  for (const char byte : text.substr(0, sizeof head.number)) {
    head.number = head.number << 8 | static_cast<std::uint8_t>(byte);
  }
  std::ranges::copy(text.substr(sizeof head.number), head.hash.begin());
  return head;
}

// None is the end of a chain that is empty. Errors: kCorrupt.
Result<Head> parse_end(const std::optional<std::string>& text, Chain chain) {
  if (!text) return Head();
  const auto head = parse_head(*text);
  if (head) return *head;
  return Error{Code::kCorrupt,
               "The head of the " + std::string(to_string(chain)) + " records' chain is damaged."};
}

ChainHash next_hash(const Head& before, std::string_view key, std::string_view value) {
  Sha256 sha;
  sha.update(bytes_of(before.hash));
  sha.update(keys::big_endian(before.number + 1));
  sha.update(keys::big_endian(std::uint64_t{key.size()}));
  sha.update(key);
  sha.update(value);
  return sha.finish();
}

// Eight bytes that stand for a record's key: a ledger has many.
std::uint64_t name_of(std::string_view key) {
  Sha256 sha;
  sha.update(key);
  const ChainHash hash = sha.finish();
  std::uint64_t name = 0;
  std::memcpy(&name, hash.data(), sizeof name);
  return name;
}

// The head as `batch` leaves it, or else as the store has it; nullopt if there is none.
Result<std::optional<std::string>> head_text(const Store& store, const std::string& key,
                                             const Batch& batch) {
  for (auto put = batch.puts.rbegin(); put != batch.puts.rend(); ++put) {
    if (put->family == Family::kLedger && put->key == key) return std::optional(put->value);
  }
  return store.get(Family::kLedger, key);
}

// Adds the record and its link; `end` moves on to it.
void put_link(Chain chain, ChainEnd& end, const std::string& key, std::string value, Batch& batch) {
  const Kept kept = records_of(chain);
  end = {.number = end.number + 1, .hash = next_hash(end, key, value)};
  batch.put(Family::kLedger, keys::chain_link(kept.letter, end.number),
            std::string(bytes_of(end.hash)) + key);
  batch.put(kept.family, key, std::move(value));
}

// Walks the links in order and notes the first that does not hold.
class Verifier {
 public:
  Verifier(const Store& store, Kept kept) : store_(store), kept_(std::move(kept)) {}

  Result<ChainReport> run() {
    if (auto walked = walk_links(); !walked) return walked.error();
    if (auto compared = compare_head(); !compared) return compared.error();
    if (auto counted = count_unlinked(); !counted) return counted.error();
    report_.num_links = at_.number;
    report_.head = at_.hash;
    return report_;
  }

 private:
  Result<void> walk_links() {
    std::optional<Error> trouble;
    const std::string prefix = keys::chain_links(kept_.letter);
    auto scanned =
        store_.scan(Family::kLedger, prefix, "", [&](std::string_view key, std::string_view link) {
          if (auto checked = check_link(key.substr(prefix.size()), link); !checked) {
            trouble = checked.error();
          }
          return !trouble && report_.first_fault == 0;
        });
    if (trouble) return *trouble;
    return scanned;
  }

  Result<void> check_link(std::string_view number, std::string_view link) {
    const Head before = at_;
    ++at_.number;
    if (number != keys::big_endian(at_.number)) {
      fault("a link is missing");
    } else if (link.size() < at_.hash.size()) {
      fault("the link is damaged");
    } else {
      return check_record(before, link.substr(at_.hash.size()), link.substr(0, at_.hash.size()));
    }
    return {};
  }

  Result<void> check_record(const Head& before, std::string_view key, std::string_view hash) {
    const auto record = store_.get(kept_.family, key);
    if (!record) return record.error();
    if (!*record) {
      fault("its record is gone");
      return {};
    }
    at_.hash = next_hash(before, key, **record);
    linked_.push_back(name_of(key));
    if (bytes_of(at_.hash) != hash) fault("its record or a link was altered");
    return {};
  }

  Result<void> compare_head() {
    const auto head = store_.get(Family::kLedger, keys::chain_head(kept_.letter));
    if (!head) return head.error();
    if (report_.first_fault != 0) return {};
    const std::string expected = at_.number == 0 ? "" : to_text(at_);
    if (head->value_or("") != expected) {
      ++at_.number;
      fault("the head names another last link");
      --at_.number;
    }
    return {};
  }

  Result<void> count_unlinked() {
    std::ranges::sort(linked_);
    return store_.scan(kept_.family, kept_.prefix, "", [&](std::string_view key, std::string_view) {
      if (!std::ranges::binary_search(linked_, name_of(key))) ++report_.num_unlinked;
      return true;
    });
  }

  void fault(std::string_view what) {
    report_.first_fault = at_.number;
    report_.fault = what;
  }

  const Store& store_;
  const Kept kept_;
  Head at_;                            // the last link that was read
  std::vector<std::uint64_t> linked_;  // name_of() each record that has a link
  ChainReport report_;
};

}  // namespace

std::string_view to_string(Chain chain) {
  return chain == Chain::kUsage ? "usage" : "audit";
}

Result<ChainHash> chain_head(const Store& store, Chain chain) {
  const auto end = chain_end(store, chain);
  if (!end) return end.error();
  return end->hash;
}

Result<ChainEnd> chain_end(const Store& store, Chain chain) {
  const auto found = store.get(Family::kLedger, keys::chain_head(records_of(chain).letter));
  if (!found) return found.error();
  return parse_end(*found, chain);
}

Result<void> append_to_chain(const Store& store, Chain chain, const std::string& key,
                             std::string value, Batch& batch) {
  const std::string head_key = keys::chain_head(records_of(chain).letter);
  const auto found = head_text(store, head_key, batch);
  if (!found) return found.error();
  auto end = parse_end(*found, chain);
  if (!end) return end.error();
  const bool first_of_batch = std::ranges::none_of(
      batch.expectations, [&](const Batch::Expect& expect) { return expect.key == head_key; });
  if (first_of_batch) batch.expect(Family::kLedger, head_key, *found);
  const auto head =
      std::ranges::find_if(batch.puts, [&](const Batch::Put& put) { return put.key == head_key; });
  if (head != batch.puts.end()) batch.puts.erase(head);  // of an earlier link of the batch
  put_link(chain, *end, key, std::move(value), batch);
  batch.put(Family::kLedger, head_key, to_text(*end));
  return {};
}

ChainAppender::ChainAppender(Chain chain, const ChainEnd& end, Batch& batch)
    : chain_(chain), end_(end), batch_(batch) {
  batch_.expect(Family::kLedger, keys::chain_head(records_of(chain).letter),
                end.number == 0 ? std::nullopt : std::optional(to_text(end)));
}

std::uint64_t ChainAppender::append(const std::string& key, std::string value) {
  put_link(chain_, end_, key, std::move(value), batch_);
  return end_.number;
}

ChainEnd ChainAppender::finish() {
  batch_.put(Family::kLedger, keys::chain_head(records_of(chain_).letter), to_text(end_));
  return end_;
}

Result<void> scan_chain(const Store& store, Chain chain, std::uint64_t from,
                        const std::function<bool(std::uint64_t, std::string_view)>& visit) {
  const char letter = records_of(chain).letter;
  std::uint64_t number = from;
  bool holds = true;
  auto scanned = store.scan(
      Family::kLedger, keys::chain_links(letter), keys::chain_link(letter, from),
      [&](std::string_view key, std::string_view link) {
        holds = key == keys::chain_link(letter, number) && link.size() >= sizeof(ChainHash);
        return holds && visit(number++, link.substr(sizeof(ChainHash)));
      });
  if (holds) return scanned;
  return Error{Code::kCorrupt,
               "A link of the " + std::string(to_string(chain)) + " records' chain is missing."};
}

Result<ChainReport> verify_chain(const Store& store, Chain chain) {
  return Verifier(store, records_of(chain)).run();
}

}  // namespace tessera
