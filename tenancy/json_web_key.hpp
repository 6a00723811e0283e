// json_web_key.hpp — an identity provider's public keys, as it publishes them (RFC 7517).
//
// Three kinds are used: RSA of 2048 to 4096 bits for RS256, P-256 for ES256, and Ed25519 for EdDSA.
// A key belongs to one algorithm for ever: what a token says of itself chooses among keys and never
// what is done with one (that is what alg confusion was). Keys of other kinds and uses are passed
// over; a symmetric or private one has no business in such a file and refuses it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

enum class JwtAlgorithm : std::uint8_t { kRs256, kEs256, kEdDsa };
std::optional<JwtAlgorithm> jwt_algorithm_from_string(std::string_view name);

inline constexpr std::size_t kMaxJwkSetBytes = 256 * 1024;
inline constexpr std::size_t kMaxJwks = 64;
inline constexpr std::size_t kMaxKidChars = 256;

// Immutable once parsed, hence thread-safe.
class JwkSet {
 public:
  // Errors: kInvalidValue for a text that is no such set, has no key that can be used, or has one
  // that it should not.
  static Result<JwkSet> parse(std::string_view json);

  // Whether `signature` (as the token carries it) is of `text`, by the key called `kid` or, for an
  // empty one, by the only key of that algorithm.
  bool verify(JwtAlgorithm algorithm, std::string_view kid, std::string_view text,
              std::string_view signature) const;

  std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::string kid;
    JwtAlgorithm algorithm;
    std::shared_ptr<void> key;  // EVP_PKEY
  };
  const Key* find(JwtAlgorithm algorithm, std::string_view kid) const;

  std::vector<Key> keys_;
};

// Base64 of RFC 4648 section 5 without padding; nullopt unless it is the one encoding of its bytes.
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace tessera
