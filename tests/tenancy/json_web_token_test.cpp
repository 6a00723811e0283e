#include "tenancy/json_web_token.hpp"

#include <memory>
#include <string>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

constexpr WallTime kNow{std::chrono::hours(500'000)};
const std::int64_t kNowSeconds =
    std::chrono::floor<std::chrono::seconds>(kNow).time_since_epoch().count();

std::string base64url(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  std::uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<std::uint8_t>(c);
    for (num_bits += 8; num_bits >= 6; num_bits -= 6) text += kDigits[bits >> (num_bits - 6) & 63];
  }
  if (num_bits > 0) text += kDigits[bits << (6 - num_bits) & 63];
  return text;
}

using Pkey = std::shared_ptr<EVP_PKEY>;

Pkey rsa(unsigned bits) {
  return {EVP_RSA_gen(bits), EVP_PKEY_free};
}
Pkey ec(const char* curve) {
  return {EVP_EC_gen(curve), EVP_PKEY_free};
}

std::string number(const Pkey& key, const char* name, int width = 0) {
  BIGNUM* value = nullptr;
  EXPECT_EQ(EVP_PKEY_get_bn_param(key.get(), name, &value), 1);
  std::string bytes(static_cast<std::size_t>(std::max(width, BN_num_bytes(value))), '\0');
  BN_bn2binpad(value, reinterpret_cast<unsigned char*>(bytes.data()),
               static_cast<int>(bytes.size()));
  BN_free(value);
  return bytes;
}

Json rsa_jwk(const Pkey& key, const std::string& kid) {
  return {{"kty", "RSA"},
          {"kid", kid},
          {"use", "sig"},
          {"n", base64url(number(key, OSSL_PKEY_PARAM_RSA_N))},
          {"e", base64url(number(key, OSSL_PKEY_PARAM_RSA_E))}};
}
Json ec_jwk(const Pkey& key, const std::string& kid, const char* curve = "P-256") {
  return {{"kty", "EC"},
          {"crv", curve},
          {"kid", kid},
          {"x", base64url(number(key, OSSL_PKEY_PARAM_EC_PUB_X, 32))},
          {"y", base64url(number(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32))}};
}

Json ed_jwk(const Pkey& key, const std::string& kid) {
  std::string x(32, '\0');
  std::size_t size = x.size();
  auto* const out = reinterpret_cast<unsigned char*>(x.data());
  EXPECT_EQ(EVP_PKEY_get_raw_public_key(key.get(), out, &size), 1);
  return {{"kty", "OKP"}, {"crv", "Ed25519"}, {"kid", kid}, {"x", base64url(x)}};
}

std::string signature_of(const Pkey& key, const std::string& text) {
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const EVP_MD* const digest =
      EVP_PKEY_base_id(key.get()) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  EXPECT_EQ(EVP_DigestSignInit(context, nullptr, digest, nullptr, key.get()), 1);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  EVP_DigestSign(context, nullptr, &size, bytes, text.size());
  std::string made(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(made.data()), &size, bytes, text.size());
  EVP_MD_CTX_free(context);
  made.resize(size);
  if (EVP_PKEY_base_id(key.get()) != EVP_PKEY_EC) return made;
  const auto* der = reinterpret_cast<const unsigned char*>(made.data());
  ECDSA_SIG* const pair = d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(made.size()));
  std::string raw(64, '\0');
  auto* const out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
  ECDSA_SIG_free(pair);
  return raw;
}

Json claims() {
  return {{"iss", "https://id.example.com"}, {"aud", "tessera"},       {"sub", "ada"},
          {"exp", kNowSeconds + 60},         {"iat", kNowSeconds - 1}, {"roles", {"platform"}}};
}

class JsonWebToken : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rsa_key = rsa(2048);
    ec_key = ec("P-256");
    ed_key = Pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  }
  static void TearDownTestSuite() {
    rsa_key.reset();
    ec_key.reset();
    ed_key.reset();
  }

  static JwkSet keys() {
    const Json all = {rsa_jwk(rsa_key, "r"), ec_jwk(ec_key, "e"), ed_jwk(ed_key, "d")};
    return JwkSet::parse(Json{{"keys", all}}.dump()).value();
  }
  static std::string token(const Json& header, const Json& body, const Pkey& key) {
    const std::string text = base64url(header.dump()) + '.' + base64url(body.dump());
    return text + '.' + base64url(signature_of(key, text));
  }
  static std::string es256(const Json& body) {
    return token({{"alg", "ES256"}, {"kid", "e"}, {"typ", "JWT"}}, body, ec_key);
  }
  Code refusal(const std::string& text) {
    const auto identity = verify_token(text, keys(), rules_, kNow);
    EXPECT_FALSE(identity) << text;
    return identity ? Code::kIo : identity.error().code;
  }
  // Of a token that differs from a good one in this claim; null: that lacks it.
  Code refusal_with(const std::string& claim, const Json& value) {
    Json body = claims();
    body[claim] = value;
    if (value.is_null()) body.erase(claim);
    return refusal(es256(body));
  }

  TokenRules rules_{.issuer = "https://id.example.com", .audience = "tessera"};
  static inline Pkey rsa_key;
  static inline Pkey ec_key;
  static inline Pkey ed_key;
};

TEST_F(JsonWebToken, OneOfEachAlgorithmSaysWhoItIs) {
  for (const auto& [algorithm, kid, key] :
       {std::tuple("RS256", "r", rsa_key), std::tuple("ES256", "e", ec_key),
        std::tuple("EdDSA", "d", ed_key)}) {
    const auto identity = verify_token(token({{"alg", algorithm}, {"kid", kid}}, claims(), key),
                                       keys(), rules_, kNow);
    ASSERT_TRUE(identity) << algorithm << identity.error().message;
    EXPECT_EQ(identity->subject, "ada");
    EXPECT_EQ(identity->roles, std::vector<std::string>{"platform"});
  }
}

TEST_F(JsonWebToken, AnEd25519SignatureIsOfEveryByteAndOfItsOwnLength) {
  const Json header = {{"alg", "EdDSA"}, {"kid", "d"}};
  const std::string good = token(header, claims(), ed_key);
  ASSERT_TRUE(verify_token(good, keys(), rules_, kNow));
  const auto dot = good.rfind('.');
  const std::string signature = signature_of(ed_key, good.substr(0, dot));
  for (const std::string& other :
       {signature.substr(1), signature + '\0', std::string(64, '\0'), std::string()}) {
    EXPECT_EQ(refusal(good.substr(0, dot + 1) + base64url(other)), Code::kInvalidApiKey);
  }
  Json body = claims();
  body["sub"] = "bob";
  const std::string forged = base64url(header.dump()) + '.' + base64url(body.dump());
  EXPECT_EQ(refusal(forged + '.' + base64url(signature)), Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, AnEdDsaKeyIsForNoOtherAlgorithmAndCurve) {
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", "d"}}, claims(), ec_key)),
            Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token({{"alg", "EdDSA"}, {"kid", "e"}}, claims(), ed_key)),
            Code::kInvalidApiKey);
  rules_.algorithms = {JwtAlgorithm::kRs256};
  EXPECT_EQ(refusal(token({{"alg", "EdDSA"}, {"kid", "d"}}, claims(), ed_key)),
            Code::kInvalidApiKey);
  Json other = ed_jwk(ed_key, "d");
  other["crv"] = "Ed448";
  EXPECT_FALSE(JwkSet::parse(Json{{"keys", {other}}}.dump())) << "has no key that can be used";
  other = ed_jwk(ed_key, "d");
  other["x"] = "AAAA";
  EXPECT_FALSE(JwkSet::parse(Json{{"keys", {other}}}.dump()));
}

TEST_F(JsonWebToken, WithoutANameTheOnlyKeyOfTheAlgorithmIsMeant) {
  EXPECT_TRUE(verify_token(token({{"alg", "ES256"}}, claims(), ec_key), keys(), rules_, kNow));
  const auto two =
      JwkSet::parse(Json{{"keys", {ec_jwk(ec_key, "e"), ec_jwk(ec("P-256"), "f")}}}.dump()).value();
  EXPECT_FALSE(verify_token(token({{"alg", "ES256"}}, claims(), ec_key), two, rules_, kNow));
}

TEST_F(JsonWebToken, NoneIsNoAlgorithmHoweverItIsWritten) {
  for (const char* name : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string text =
        base64url(Json{{"alg", name}}.dump()) + '.' + base64url(claims().dump());
    EXPECT_EQ(refusal(text + '.'), Code::kInvalidApiKey) << name;
    EXPECT_EQ(refusal(text + ".AAAA"), Code::kInvalidApiKey) << name;
  }
}

// The public key as the secret of an HMAC: what fell for it let the token choose what is done.
TEST_F(JsonWebToken, APublicKeyIsNoSecret) {
  const std::string modulus = number(rsa_key, OSSL_PKEY_PARAM_RSA_N);
  for (const char* name : {"HS256", "HS384", "HS512"}) {
    const std::string text =
        base64url(Json{{"alg", name}, {"kid", "r"}}.dump()) + '.' + base64url(claims().dump());
    unsigned char mac[32];
    unsigned size = 0;
    HMAC(EVP_sha256(), modulus.data(), static_cast<int>(modulus.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
    EXPECT_EQ(refusal(text + '.' + base64url({reinterpret_cast<char*>(mac), size})),
              Code::kInvalidApiKey);
  }
}

TEST_F(JsonWebToken, AKeyIsOfOneAlgorithm) {
  EXPECT_EQ(refusal(token({{"alg", "RS256"}, {"kid", "e"}}, claims(), rsa_key)),
            Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", "r"}}, claims(), ec_key)),
            Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, AnAlgorithmThatIsNotAllowedHereIsRefused) {
  rules_.algorithms = {JwtAlgorithm::kRs256};
  EXPECT_EQ(refusal(es256(claims())), Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, ATokenDoesNotBringItsOwnKey) {
  const Pkey mine = ec("P-256");
  Json header = {{"alg", "ES256"}, {"kid", "mine"}, {"jwk", ec_jwk(mine, "mine")}};
  header["jku"] = "https://attacker.example/jwks.json";
  header["x5u"] = "https://attacker.example/cert.pem";
  EXPECT_EQ(refusal(token(header, claims(), mine)), Code::kInvalidApiKey);
  header["kid"] = "e";
  EXPECT_EQ(refusal(token(header, claims(), mine)), Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, AKeysNameIsComparedAndNeverOpened) {
  for (const char* kid : {"../../../../dev/null", "/etc/passwd", "e' OR '1'='1", "e\\u0000", "E",
                          "file:///etc/hostname"}) {
    EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", kid}}, claims(), ec_key)),
              Code::kInvalidApiKey)
        << kid;
  }
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", std::string(300, 'e')}}, claims(), ec_key)),
            Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", 7}}, claims(), ec_key)), Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, NothingOfWhatWasSignedCanBeChanged) {
  const std::string good = es256(claims());
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string other = good;
    other[at] = other[at] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verify_token(other, keys(), rules_, kNow)) << at;
  }
  EXPECT_FALSE(verify_token(good + "=", keys(), rules_, kNow));
  EXPECT_FALSE(verify_token(good + "." + good, keys(), rules_, kNow));
  EXPECT_FALSE(verify_token(good.substr(0, good.rfind('.') + 1), keys(), rules_, kNow));
}

TEST_F(JsonWebToken, AnEllipticSignatureOfZeroesIsNone) {
  const std::string text =
      base64url(Json{{"alg", "ES256"}, {"kid", "e"}}.dump()) + '.' + base64url(claims().dump());
  EXPECT_EQ(refusal(text + '.' + base64url(std::string(64, '\0'))), Code::kInvalidApiKey);
  EXPECT_EQ(refusal(text + '.' + base64url(std::string(63, '\1'))), Code::kInvalidApiKey);
}

TEST_F(JsonWebToken, TimesAreJudgedWithABoundedSkew) {
  const std::int64_t skew = rules_.clock_skew.count();
  EXPECT_EQ(refusal_with("exp", kNowSeconds - skew), Code::kExpiredApiKey);
  EXPECT_EQ(refusal_with("exp", kNowSeconds - 100'000), Code::kExpiredApiKey);
  EXPECT_EQ(refusal_with("exp", nullptr), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("exp", "tomorrow"), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("exp", 1e300), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("exp", -1), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("nbf", kNowSeconds + skew + 1), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("iat", kNowSeconds + skew + 1), Code::kInvalidApiKey);
  Json body = claims();
  body["exp"] = kNowSeconds - skew + 1;
  body["nbf"] = kNowSeconds + skew;
  EXPECT_TRUE(verify_token(es256(body), keys(), rules_, kNow));
  rules_.clock_skew = std::chrono::hours(24);  // counts as a minute
  EXPECT_EQ(refusal_with("exp", kNowSeconds - 61), Code::kExpiredApiKey);
}

TEST_F(JsonWebToken, ItIsForUsAndFromTheOneWeBelieve) {
  EXPECT_EQ(refusal_with("iss", "https://id.example.com/"), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("iss", nullptr), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("iss", Json::array({"https://id.example.com"})), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("aud", "other"), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("aud", nullptr), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("aud", Json::array({"other", "tesseract"})), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("sub", nullptr), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("sub", "a\nb"), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_with("sub", std::string(201, 'a')), Code::kInvalidApiKey);
  Json body = claims();
  body["aud"] = {"other", "tessera"};
  EXPECT_TRUE(verify_token(es256(body), keys(), rules_, kNow));
  rules_.authorized_party = "console";
  EXPECT_EQ(refusal(es256(body)), Code::kInvalidApiKey);
  body["azp"] = "console";
  EXPECT_TRUE(verify_token(es256(body), keys(), rules_, kNow));
}

TEST_F(JsonWebToken, WhatIsTooLongOrOddIsRefusedUnread) {
  Json body = claims();
  body["padding"] = std::string(kMaxTokenBytes, 'a');
  EXPECT_EQ(refusal(es256(body)), Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", "e"}, {"crit", {"exp"}}}, claims(), ec_key)),
            Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token({{"alg", "ES256"}, {"kid", "e"}, {"typ", "JWE"}}, claims(), ec_key)),
            Code::kInvalidApiKey);
  EXPECT_EQ(refusal(token(Json::array({"ES256"}), claims(), ec_key)), Code::kInvalidApiKey);
  const std::string twice = R"({"alg":"ES256","alg":"none","kid":"e"})";
  const std::string text = base64url(twice) + '.' + base64url(claims().dump());
  EXPECT_EQ(refusal(text + '.' + base64url(signature_of(ec_key, text))), Code::kInvalidApiKey);
  for (const char* junk : {"", ".", "..", "...", "a.b", "a.b.c", "\xff.\xff.\xff"}) {
    EXPECT_EQ(refusal(junk), Code::kInvalidApiKey);
  }
}

TEST_F(JsonWebToken, RolesAreATextOrTextsWhereverTheyAre) {
  rules_.role_claim = {"realm_access", "roles"};
  Json body = claims();
  const auto roles = [&] { return verify_token(es256(body), keys(), rules_, kNow).value().roles; };
  EXPECT_TRUE(roles().empty());
  body["realm_access"]["roles"] = "one";
  EXPECT_EQ(roles(), std::vector<std::string>{"one"});
  body["realm_access"]["roles"] = {"one", 2, "three"};
  EXPECT_EQ(roles(), (std::vector<std::string>{"one", "three"}));
  body["realm_access"] = "none";
  EXPECT_TRUE(roles().empty());
}

TEST_F(JsonWebToken, ASetOfKeysHasPublicOnesThatCanBeUsed) {
  const auto fault = [](const std::vector<Json>& keys) {
    Json json;
    json["keys"] = keys;
    const auto set = JwkSet::parse(json.dump());
    return set ? std::string() : set.error().message;
  };
  const Json good = ec_jwk(ec_key, "e");
  EXPECT_EQ(fault({good}), "");
  EXPECT_NE(fault({}), "");
  EXPECT_NE(fault({rsa_jwk(rsa(1024), "weak")}), "");
  EXPECT_NE(fault({good, good}), "") << "two of one name";
  EXPECT_NE(fault({good, {{"kty", "oct"}, {"k", "c2VjcmV0"}}}), "");
  Json secret = good;
  secret["d"] = "AAAA";
  EXPECT_NE(fault({secret}), "");
  Json off_curve = good;
  off_curve["x"] = base64url(std::string(32, '\1'));
  EXPECT_NE(fault({off_curve}), "");
  Json other = good;
  other["use"] = "enc";
  EXPECT_NE(fault({other}), "") << "no key that signs";
  other["crv"] = "P-521";
  other["use"] = "sig";
  other["kid"] = "p521";
  EXPECT_EQ(fault({good, other}), "") << "others are passed over";
  EXPECT_NE(fault(std::vector<Json>(kMaxJwks + 1, good)), "");
  for (const char* junk : {"", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[1]}"}) {
    EXPECT_FALSE(JwkSet::parse(junk)) << junk;
  }
}

TEST(Base64url, HasOneTextForEachBytes) {
  EXPECT_EQ(decode_base64url(""), "");
  EXPECT_EQ(decode_base64url("-_8"), "\xfb\xff");
  for (const char* wrong : {"A", "AB=", "AB==", "+/8", "-_9", "AB\n", "A B"}) {
    EXPECT_FALSE(decode_base64url(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace tessera
