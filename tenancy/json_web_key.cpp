#include "tenancy/json_web_key.hpp"

#include <algorithm>
#include <array>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 4096;
constexpr std::size_t kMaxExponentBytes = 8;
constexpr std::size_t kCoordinateBytes = 32;  // of P-256
constexpr std::size_t kEd25519KeyBytes = 32;
constexpr std::size_t kEd25519SignatureBytes = 64;

struct Free {
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(OSSL_PARAM_BLD* builder) const { OSSL_PARAM_BLD_free(builder); }
  void operator()(OSSL_PARAM* params) const { OSSL_PARAM_free(params); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Owned<BIGNUM> number_of(std::string_view bytes) {
  return Owned<BIGNUM>(BN_bin2bn(bytes_of(bytes), static_cast<int>(bytes.size()), nullptr));
}

// A public key of that kind; null if the numbers are none.
std::shared_ptr<void> make_key(const char* kind, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return {key, [](void* made) { EVP_PKEY_free(static_cast<EVP_PKEY*>(made)); }};
}

// The member, decoded; empty if it is absent or no such text.
std::string decoded(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return {};
  return decode_base64url(found->get_ref<const std::string&>()).value_or(std::string());
}

std::string_view text_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

std::shared_ptr<void> rsa_key(const Json& json) {
  const std::string n = decoded(json, "n");
  const std::string e = decoded(json, "e");
  if (n.empty() || n.size() > kMaxRsaBits / 8 || e.empty() || e.size() > kMaxExponentBytes) {
    return nullptr;
  }
  const Owned<BIGNUM> modulus = number_of(n);
  const Owned<BIGNUM> exponent = number_of(e);
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (BN_num_bits(modulus.get()) < kMinRsaBits || !BN_is_odd(exponent.get()) ||
      BN_num_bits(exponent.get()) < 2 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1) {
    return nullptr;
  }
  return make_key("RSA", builder.get());
}

std::shared_ptr<void> ec_key(const Json& json) {
  const std::string x = decoded(json, "x");
  const std::string y = decoded(json, "y");
  if (text_of(json, "crv") != "P-256" || x.size() != kCoordinateBytes ||
      y.size() != kCoordinateBytes) {
    return nullptr;
  }
  const std::string point = '\x04' + x + y;
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1) {
    return nullptr;
  }
  return make_key("EC", builder.get());
}

std::shared_ptr<void> ed25519_key(const Json& json) {
  const std::string x = decoded(json, "x");
  if (text_of(json, "crv") != "Ed25519" || x.size() != kEd25519KeyBytes) return nullptr;
  EVP_PKEY* const key =
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(x), x.size());
  if (key == nullptr) return nullptr;
  return {key, [](void* made) { EVP_PKEY_free(static_cast<EVP_PKEY*>(made)); }};
}

// The two numbers of an ES256 signature as OpenSSL wants them; empty if they are none.
std::string der_of(std::string_view raw) {
  if (raw.size() != 2 * kCoordinateBytes) return {};
  const Owned<ECDSA_SIG> signature(ECDSA_SIG_new());
  Owned<BIGNUM> r = number_of(raw.substr(0, kCoordinateBytes));
  Owned<BIGNUM> s = number_of(raw.substr(kCoordinateBytes));
  if (ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) return {};
  r.release();
  s.release();
  unsigned char* out = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &out);
  if (size <= 0) return {};
  std::string der(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return der;
}

Error wrong_set(const std::string& what) {
  return {Code::kInvalidValue, "the key set " + what};
}

// Whether a key of the set is one that signs, as far as it says.
bool is_for(const Json& json, std::string_view algorithm) {
  const std::string_view use = text_of(json, "use");
  const std::string_view said = text_of(json, "alg");
  return (use.empty() || use == "sig") && (said.empty() || said == algorithm);
}

// What a key of the set is for; nullopt: for nothing here.
std::optional<JwtAlgorithm> algorithm_of(const Json& json) {
  const std::string_view kind = text_of(json, "kty");
  if (kind == "RSA" && is_for(json, "RS256")) return JwtAlgorithm::kRs256;
  const std::string_view curve = text_of(json, "crv");
  if (kind == "EC" && curve == "P-256" && is_for(json, "ES256")) return JwtAlgorithm::kEs256;
  if (kind == "OKP" && curve == "Ed25519" && is_for(json, "EdDSA")) return JwtAlgorithm::kEdDsa;
  return std::nullopt;
}

std::shared_ptr<void> key_of(JwtAlgorithm algorithm, const Json& json) {
  switch (algorithm) {
    case JwtAlgorithm::kRs256:
      return rsa_key(json);
    case JwtAlgorithm::kEs256:
      return ec_key(json);
    case JwtAlgorithm::kEdDsa:
      return ed25519_key(json);
  }
  return nullptr;
}

// Of EdDSA the whole text is signed, not a digest that was made before (RFC 8037).
const EVP_MD* digest_of(JwtAlgorithm algorithm) {
  return algorithm == JwtAlgorithm::kEdDsa ? nullptr : EVP_sha256();
}

}  // namespace

std::optional<JwtAlgorithm> jwt_algorithm_from_string(std::string_view name) {
  if (name == "RS256") return JwtAlgorithm::kRs256;
  if (name == "ES256") return JwtAlgorithm::kEs256;
  if (name == "EdDSA") return JwtAlgorithm::kEdDsa;
  return std::nullopt;
}

Result<JwkSet> JwkSet::parse(std::string_view text) {
  const auto json = parse_json(text, {.max_bytes = kMaxJwkSetBytes, .max_depth = 8});
  if (!json) return wrong_set("is not JSON");
  const bool is_set = json->is_object() && json->contains("keys") && json->at("keys").is_array();
  if (!is_set) return wrong_set("has no array \"keys\"");
  if (json->at("keys").size() > kMaxJwks) {
    return wrong_set("has more than " + std::to_string(kMaxJwks) + " keys");
  }
  JwkSet set;
  for (const Json& one : json->at("keys")) {
    if (!one.is_object()) return wrong_set("has a key that is no object");
    if (text_of(one, "kty") == "oct" || one.contains("d") || one.contains("k")) {
      return wrong_set("has a secret or private key in it");
    }
    const auto algorithm = algorithm_of(one);
    if (!algorithm) continue;
    Key key{.kid = std::string(text_of(one, "kid")),
            .algorithm = *algorithm,
            .key = key_of(*algorithm, one)};
    if (!key.key) {
      return wrong_set("has a key that is none, or an RSA key not of 2048 to 4096 bits");
    }
    if (key.kid.size() > kMaxKidChars) return wrong_set("has a key with too long a name");
    const bool twice = std::ranges::any_of(set.keys_, [&](const Key& other) {
      return other.kid == key.kid && other.algorithm == key.algorithm;
    });
    if (twice) return wrong_set("has two keys of one name");
    set.keys_.push_back(std::move(key));
  }
  if (set.keys_.empty()) return wrong_set("has no key for RS256, ES256 or EdDSA");
  return set;
}

const JwkSet::Key* JwkSet::find(JwtAlgorithm algorithm, std::string_view kid) const {
  const Key* found = nullptr;
  for (const Key& key : keys_) {
    if (key.algorithm != algorithm || (!kid.empty() && key.kid != kid)) continue;
    if (found) return nullptr;  // without a name there must be no choice
    found = &key;
  }
  return found;
}

bool JwkSet::verify(JwtAlgorithm algorithm, std::string_view kid, std::string_view text,
                    std::string_view signature) const {
  const Key* const key = find(algorithm, kid);
  if (!key) return false;
  std::string der;
  if (algorithm == JwtAlgorithm::kEs256) {
    der = der_of(signature);
    if (der.empty()) return false;
    signature = der;
  }
  if (algorithm == JwtAlgorithm::kEdDsa && signature.size() != kEd25519SignatureBytes) return false;
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, digest_of(algorithm), nullptr,
                              static_cast<EVP_PKEY*>(key->key.get())) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text),
                          text.size()) == 1;
}

std::optional<std::string> decode_base64url(std::string_view text) {
  const auto value = [](char c) -> int {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-') return 62;
    return c == '_' ? 63 : -1;
  };
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  std::uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const int digit = value(c);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFF;
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes += static_cast<char>(bits >> num_bits & 0xFF);
  }
  if ((bits & ((1U << num_bits) - 1)) != 0) return std::nullopt;  // another text of these bytes
  return bytes;
}

}  // namespace tessera
