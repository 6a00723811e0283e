#include "storage/digest.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <openssl/crypto.h>
#include <openssl/evp.h>

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

// EVP_sha256() is looked up anew, under a lock, by everyone who begins with it.
const EVP_MD* fetched_sha256() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);  // for good
  check(fetched != nullptr ? 1 : 0);
  return fetched;
}

// The value of a hex digit, or -1.
int hex_value(char digit) {
  if ('0' <= digit && digit <= '9') return digit - '0';
  if ('a' <= digit && digit <= 'f') return digit - 'a' + 10;
  if ('A' <= digit && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr) throw std::bad_alloc();
  check(EVP_DigestInit_ex(as_context(context_), fetched_sha256(), nullptr));
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(as_context(context_));
}

void Sha256::update(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(as_context(context_), bytes.data(), bytes.size()));
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text)));
}

std::array<std::uint8_t, 32> Sha256::finish() {
  std::array<std::uint8_t, 32> digest{};
  check(EVP_DigestFinal_ex(as_context(context_), digest.data(), nullptr));
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
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
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
  Sha256 first;
  first.update(inner);
  first.update(message);
  const auto digest = first.finish();
  Sha256 second;
  second.update(outer);
  second.update(std::as_bytes(std::span(digest)));
  OPENSSL_cleanse(inner.data(), inner.size());
  OPENSSL_cleanse(outer.data(), outer.size());
  return second.finish();
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
  std::array<std::uint8_t, 32> bytes{};
  if (hex.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return bytes;
}

}  // namespace tessera
