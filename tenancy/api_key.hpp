// api_key.hpp — the text form of an API key and the secret it is kept under.
//
//     sk-live-8Zk2mQx0Ad1B-<43 characters of secret><6 characters of CRC>
//             public id     256 bits, base 62         CRC-32 of all before it, base 62
//
// The checksum lets junk be refused without a lookup and lets secret scanners verify a find. At
// rest there is HMAC-SHA-256(pepper, secret): a stolen store without the pepper file opens nothing,
// and a random 256-bit secret needs no slow hash.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

std::string_view to_string(KeyKind kind);  // "live", "test", "admin"
std::optional<KeyKind> key_kind_from_string(std::string_view name);

struct ApiKey {
  KeyKind kind = KeyKind::kLive;
  KeyId id;            // 12 characters of [0-9A-Za-z]
  std::string secret;  // 43 characters of [0-9A-Za-z]
};

// A new key from the operating system's random source.
ApiKey new_api_key(KeyKind kind);

// The one text form of `key`, and back; nullopt unless format and checksum are right.
std::string to_text(const ApiKey& key);
std::optional<ApiKey> parse_api_key(std::string_view text);

// What lists show of a key: its kind, its id and no secret.
std::string redacted(KeyKind kind, const KeyId& id);

// The server-side secrets under which key secrets are hashed, by version, in a file of mode 0600
// that lies outside the store. Lines of "<version> <64 hex digits>"; the last is used for new keys.
// Thread-safe; what is there never changes or goes, and reading takes no lock.
class PepperFile {
 public:
  static constexpr std::size_t kMaxPeppers = 64;

  // Reads `path`, or makes it with version 1 if there is none; it is on disk before this returns.
  // Errors: kCorrupt if it is not such a file, or others than its owner may read it; kIo.
  static Result<PepperFile> open(const std::filesystem::path& path);

  // Adds a version, which new and rotated keys are hashed under from now on; it is on disk before
  // this returns it. Keys that are there keep theirs. Errors: kConflict if there are kMaxPeppers;
  // kStorageFull, kIo: then nothing has changed.
  Result<std::uint32_t> rotate();

  std::uint32_t current_version() const;
  bool has(std::uint32_t version) const { return find(version) != nullptr; }

  // HMAC-SHA-256(pepper[version], message). The version must be known.
  std::array<std::uint8_t, 32> hmac(std::uint32_t version, std::string_view message) const;

 private:
  struct Pepper {
    std::uint32_t version = 0;
    std::array<std::uint8_t, 32> bytes = {};
  };
  // Entries below `count` are never written again. By a pointer, so that the file can be moved.
  struct State {
    std::filesystem::path path;
    Mutex change;                                  // one rotation at a time
    std::array<Pepper, kMaxPeppers> peppers = {};  // ascending
    std::atomic<std::size_t> count = 0;
  };

  explicit PepperFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
  const Pepper* find(std::uint32_t version) const;

  std::unique_ptr<State> state_;
};

// Whether `presented` is the key that `record` was made from, with its secret or with the one
// before its last rotation while that is valid; `record` may be null (unknown id). Takes the same
// time whatever the answer: two HMACs and two constant-time comparisons.
bool verify_api_key(const PepperFile& peppers, const ApiKeyRecord* record, const ApiKey& presented,
                    WallTime now);

}  // namespace tessera
