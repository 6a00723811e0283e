#include "gateway/webhooks/signature.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace tessera {

std::string base64_text(std::span<const std::uint8_t> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string secret_text(const WebhookSecret& secret) {
  return "whsec_" + base64_text(secret);
}

std::string webhook_signature(std::span<const std::uint8_t> secret, std::string_view id,
                              std::int64_t timestamp, std::string_view body) {
  std::string signed_text(id);
  signed_text.append(".").append(std::to_string(timestamp)).append(".").append(body);
  std::array<std::uint8_t, 32> mac{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(), mac.data(),
       &size);
  return "v1," + base64_text(mac);
}

}  // namespace tessera
