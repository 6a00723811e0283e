// digest.hpp — SHA-256, and the digests that are identities.
//
// An adapter version *is* the digest of its content; names and aliases only point at digests. The
// two digest types below are distinct so that neither can stand in for the other.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tessera {

// 32 bytes. Tag makes digests of different things different types.
template <class Tag>
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
};

struct AdapterDigestTag {};
struct BaseDigestTag {};
struct ContentDigestTag {};

// Of an adapter version: canonical config, tensors and the base's fingerprint (promise P1).
using AdapterDigest = Digest<AdapterDigestTag>;
// Of a base model: the packed file's weights and shape; the base's fingerprint.
using BaseDigest = Digest<BaseDigestTag>;
// Of any bytes.
using ContentDigest = Digest<ContentDigestTag>;

// Streaming SHA-256 over OpenSSL. Not thread-safe; owned by its caller.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // The digest of all updates; the object may not be used afterwards.
  std::array<std::uint8_t, 32> finish();

 private:
  void* context_;  // EVP_MD_CTX
};

// Streaming MD5, only to compare with one that a client sends along: it proves nothing against
// somebody who wants two contents to look alike. Not thread-safe.
class Md5 {
 public:
  Md5();
  ~Md5();
  Md5(const Md5&) = delete;
  Md5& operator=(const Md5&) = delete;

  void update(std::string_view text);
  // Of all updates; the object may not be used afterwards.
  std::array<std::uint8_t, 16> finish();

 private:
  void* context_;  // EVP_MD_CTX
};

std::array<std::uint8_t, 32> sha256(std::span<const std::byte> bytes);
std::array<std::uint8_t, 32> hmac_sha256(std::span<const std::byte> key, std::string_view message);

// Lower-case hex and back; from_hex is nullopt unless exactly 2 * N hex digits are given.
std::string to_hex(std::span<const std::uint8_t> bytes);
std::optional<std::array<std::uint8_t, 32>> digest_from_hex(std::string_view hex);

template <class Tag>
std::string to_hex(const Digest<Tag>& digest) {
  return to_hex(std::span<const std::uint8_t>(digest.bytes));
}

// For unordered maps keyed by a digest: its first eight bytes are already uniform.
struct DigestHash {
  template <class Tag>
  std::size_t operator()(const Digest<Tag>& digest) const {
    std::uint64_t head = 0;
    std::memcpy(&head, digest.bytes.data(), sizeof head);
    return static_cast<std::size_t>(head);
  }
};

}  // namespace tessera
