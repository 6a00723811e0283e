#include "storage/digest.hpp"

// SHA-256 by OpenSSL's functions for it alone. Beginning and ending by way of its EVP takes longer
// than hashing a short message, of which every request has a dozen.
#define OPENSSL_SUPPRESS_DEPRECATED

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "storage/result.hpp"

namespace tessera {
namespace {

constexpr std::size_t kSha256BlockBytes = 64;

// OpenSSL's digests fail only if memory runs out or the library is broken.
void check(int ok) {
  if (ok != 1) throw std::bad_alloc();
}

EVP_MD_CTX* as_context(void* context) {
  return static_cast<EVP_MD_CTX*>(context);
}

SHA256_CTX& as_sha256(void* context) {
  return *static_cast<SHA256_CTX*>(context);
}

// Contexts that are not in use, of each thread: the engine's steps name blocks and do not allocate.
constexpr std::size_t kMaxSpareContexts = 4;

std::vector<std::unique_ptr<SHA256_CTX>>& spare_contexts() {
  thread_local std::vector<std::unique_ptr<SHA256_CTX>> spare;
  return spare;
}

std::unique_ptr<SHA256_CTX> take_context() {
  auto& spare = spare_contexts();
  if (spare.empty()) return std::make_unique<SHA256_CTX>();
  std::unique_ptr<SHA256_CTX> context = std::move(spare.back());
  spare.pop_back();
  return context;
}

void give_back_context(SHA256_CTX* context) {
  std::unique_ptr<SHA256_CTX> owned(context);
  OPENSSL_cleanse(context, sizeof *context);
  auto& spare = spare_contexts();
  spare.reserve(kMaxSpareContexts);
  if (spare.size() < kMaxSpareContexts) spare.push_back(std::move(owned));
}

// The digest of two pieces, one after the other.
std::array<std::uint8_t, 32> sha256_of(std::span<const std::byte> first,
                                       std::span<const std::byte> second) {
  SHA256_CTX context;
  std::array<std::uint8_t, 32> digest{};
  check(SHA256_Init(&context));
  check(SHA256_Update(&context, first.data(), first.size()));
  check(SHA256_Update(&context, second.data(), second.size()));
  check(SHA256_Final(digest.data(), &context));
  OPENSSL_cleanse(&context, sizeof context);
  return digest;
}

// The value of each hex digit, and -1 of every other byte: a start with a million keys reads a
// hundred million of them.
constexpr std::array<std::int8_t, 256> hex_values() {
  std::array<std::int8_t, 256> values{};
  for (std::size_t byte = 0; byte < values.size(); ++byte) {
    int value = -1;
    if (byte >= '0' && byte <= '9') value = static_cast<int>(byte) - '0';
    if (byte >= 'a' && byte <= 'f') value = static_cast<int>(byte) - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') value = static_cast<int>(byte) - 'A' + 10;
    values[byte] = static_cast<std::int8_t>(value);
  }
  return values;
}

}  // namespace

Sha256::Sha256() : context_(take_context().release()) {
  check(SHA256_Init(&as_sha256(context_)));
}

Sha256::~Sha256() {
  give_back_context(&as_sha256(context_));
}

void Sha256::update(std::span<const std::byte> bytes) {
  check(SHA256_Update(&as_sha256(context_), bytes.data(), bytes.size()));
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text)));
}

std::array<std::uint8_t, 32> Sha256::finish() {
  std::array<std::uint8_t, 32> digest{};
  check(SHA256_Final(digest.data(), &as_sha256(context_)));
  return digest;
}

Md5::Md5() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr) throw std::bad_alloc();
  check(EVP_DigestInit_ex(as_context(context_), EVP_md5(), nullptr));
}

Md5::~Md5() {
  EVP_MD_CTX_free(as_context(context_));
}

void Md5::update(std::string_view text) {
  check(EVP_DigestUpdate(as_context(context_), text.data(), text.size()));
}

std::array<std::uint8_t, 16> Md5::finish() {
  std::array<std::uint8_t, 16> digest{};
  unsigned size = 0;
  check(EVP_DigestFinal_ex(as_context(context_), digest.data(), &size));
  return digest;
}

std::array<std::uint8_t, 32> sha256(std::span<const std::byte> bytes) {
  return sha256_of(bytes, {});
}

// RFC 2104. OpenSSL's own looks up the algorithm and its digest by name each time, which takes
// longer than both digests of a short message.
std::array<std::uint8_t, 32> hmac_sha256(std::span<const std::byte> key, std::string_view message) {
  std::array<std::byte, kSha256BlockBytes> inner{};
  if (key.size() > inner.size()) {
    const auto digest = sha256(key);
    std::memcpy(inner.data(), digest.data(), digest.size());
  } else {
    std::ranges::copy(key, inner.begin());
  }
  auto outer = inner;
  for (std::byte& byte : inner) byte ^= std::byte{0x36};
  for (std::byte& byte : outer) byte ^= std::byte{0x5C};
  const auto digest = sha256_of(inner, std::as_bytes(std::span(message)));
  const auto mac = sha256_of(outer, std::as_bytes(std::span(digest)));
  OPENSSL_cleanse(inner.data(), inner.size());
  OPENSSL_cleanse(outer.data(), outer.size());
  return mac;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

std::optional<std::array<std::uint8_t, 32>> digest_from_hex(std::string_view hex) {
  static constexpr auto kValues = hex_values();
  std::array<std::uint8_t, 32> bytes{};
  if (hex.size() != 2 * bytes.size()) return std::nullopt;
  int wrong = 0;  // negative once a digit was
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = kValues[static_cast<unsigned char>(hex[2 * i])];
    const int low = kValues[static_cast<unsigned char>(hex[2 * i + 1])];
    wrong |= high | low;
    bytes[i] = static_cast<std::uint8_t>((high << 4 | low) & 0xFF);
  }
  if (wrong < 0) return std::nullopt;
  return bytes;
}

}  // namespace tessera
