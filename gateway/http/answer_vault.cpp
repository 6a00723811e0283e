#include "gateway/http/answer_vault.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include <openssl/evp.h>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// A sealed text: the pepper's version, a nonce, what it came to, and its tag.
constexpr std::size_t kVersionBytes = 4;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kFrameBytes = kVersionBytes + kNonceBytes + kTagBytes;
constexpr std::size_t kMaxSealedText = std::size_t{4} << 20;

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

unsigned char* bytes(std::string& text, std::size_t at = 0) {
  return reinterpret_cast<unsigned char*>(text.data()) + at;
}
const unsigned char* bytes(std::string_view text, std::size_t at = 0) {
  return reinterpret_cast<const unsigned char*>(text.data()) + at;
}
int size_of(std::string_view text) {
  return static_cast<int>(text.size());
}

// No API key's secret looks like the text that is hashed here: those have no blanks.
std::array<std::uint8_t, 32> key_of(const PepperFile& peppers, std::uint32_t version) {
  return peppers.hmac(version, "answers of idempotency keys");
}

std::string text_of(const AnswerVault::Kept& kept) {
  Json json;
  json["caller"] = kept.asked.caller.str();
  json["content"] = to_hex(kept.asked.content.bytes);
  json["begun"] = kept.begun.time_since_epoch().count();
  json["status"] = kept.answer.status;
  json["headers"] = kept.answer.headers;
  json["body"] = kept.answer.body;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<AnswerVault::Kept> kept_of(const ContentDigest& place, const std::string& text) {
  const auto json = parse_json(text);
  if (!json) return std::nullopt;
  try {
    AnswerVault::Kept kept;
    kept.asked.caller = KeyId(json->at("caller").get<std::string>());
    kept.asked.place = place;
    const auto content = digest_from_hex(json->at("content").get<std::string>());
    if (!content) return std::nullopt;
    kept.asked.content.bytes = *content;
    kept.begun = WallTime(std::chrono::microseconds(json->at("begun").get<std::int64_t>()));
    kept.answer.status = json->at("status").get<int>();
    kept.answer.headers = json->at("headers").get<Headers>();
    kept.answer.body = json->at("body").get<std::string>();
    return kept;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

void log_failure(const Result<void>& written) {
  if (!written) log_error("answer_not_kept", {{"reason", written.error().message}});
}

}  // namespace

std::string AnswerVault::seal(const ContentDigest& place, std::string_view text) const {
  const std::uint32_t version = peppers_.current_version();
  const auto key = key_of(peppers_, version);
  std::string sealed = keys::big_endian(version);
  sealed.resize(kFrameBytes + text.size());
  random_bytes(sealed.data() + kVersionBytes, kNonceBytes);
  const Cipher cipher(EVP_CIPHER_CTX_new());
  const std::string_view bound = keys::bytes_of(place);
  constexpr std::size_t kText = kVersionBytes + kNonceBytes;
  int size = 0;
  EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                     bytes(sealed, kVersionBytes));
  EVP_EncryptUpdate(cipher.get(), nullptr, &size, bytes(bound), size_of(bound));
  EVP_EncryptUpdate(cipher.get(), bytes(sealed, kText), &size, bytes(text), size_of(text));
  EVP_EncryptFinal_ex(cipher.get(), bytes(sealed, kText + text.size()), &size);
  EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes,
                      bytes(sealed, kText + text.size()));
  return sealed;
}

std::optional<std::string> AnswerVault::open(const ContentDigest& place,
                                             std::string_view sealed) const {
  if (sealed.size() < kFrameBytes || sealed.size() > kFrameBytes + kMaxSealedText) {
    return std::nullopt;
  }
  const std::uint32_t version = keys::number_at_end(sealed.substr(0, kVersionBytes));
  if (!peppers_.has(version)) return std::nullopt;
  const auto key = key_of(peppers_, version);
  constexpr std::size_t kText = kVersionBytes + kNonceBytes;
  std::string text(sealed.size() - kFrameBytes, '\0');
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  const Cipher cipher(EVP_CIPHER_CTX_new());
  const std::string_view bound = keys::bytes_of(place);
  int size = 0;
  EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                     bytes(sealed, kVersionBytes));
  EVP_DecryptUpdate(cipher.get(), nullptr, &size, bytes(bound), size_of(bound));
  EVP_DecryptUpdate(cipher.get(), bytes(text), &size, bytes(sealed, kText), size_of(text));
  EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data());
  if (EVP_DecryptFinal_ex(cipher.get(), bytes(tag), &size) != 1) return std::nullopt;
  return text;
}

Result<void> AnswerVault::load(const std::function<void(Kept)>& keep) const {
  std::vector<Kept> all;
  auto scanned = store_.scan(Family::kMeta, keys::kept_answers(), {},
                             [&](std::string_view key, std::string_view value) {
                               ContentDigest place;
                               if (key.size() != 1 + place.bytes.size()) return true;
                               std::copy(key.begin() + 1, key.end(), place.bytes.begin());
                               const auto text = open(place, value);
                               if (auto kept = text ? kept_of(place, *text) : std::nullopt)
                                 all.push_back(*std::move(kept));
                               return true;
                             });
  if (!scanned) return scanned;
  std::ranges::sort(all, {}, &Kept::begun);
  for (Kept& kept : all) keep(std::move(kept));
  return {};
}

void AnswerVault::put(const Kept& kept) {
  Batch batch;
  batch.put(Family::kMeta, keys::kept_answer(kept.asked.place),
            seal(kept.asked.place, text_of(kept)));
  log_failure(store_.write(batch, Durability::kBuffered));
}

void AnswerVault::erase(const std::vector<ContentDigest>& places) {
  Batch batch;
  for (const ContentDigest& place : places) {
    batch.erase(Family::kMeta, keys::kept_answer(place));
  }
  log_failure(store_.write(batch, Durability::kBuffered));
}

}  // namespace tessera
