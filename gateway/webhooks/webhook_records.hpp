// webhook_records.hpp — a webhook, and an event on its way to one, as the store keeps them: JSON.
//
// No secret is kept. A webhook's is HMAC(pepper, its id and generation), so that it is known to
// whoever has the pepper file, and a stolen store signs nothing; a rotation is the next generation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/webhooks/signature.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "tenancy/api_key.hpp"

namespace tessera {

// Which of a webhook's secrets.
struct SecretVersion {
  std::uint32_t pepper_version = 0;
  std::int64_t generation = 1;
};

struct RetiredSecretVersion {
  SecretVersion version = {};
  WallTime valid_until = {};  // from then on nothing is signed with it
};

struct Webhook {
  std::string id = {};   // "whk_" + ULID
  TenantId tenant = {};  // empty: the platform's, which hears of all tenants
  std::string url = {};
  std::vector<std::string> events = {};  // that it hears of; empty: all
  WallTime created_at = {};
  KeyId created_by = {};
  bool disabled = false;  // its receiver said that it is gone
  SecretVersion secret = {};
  std::optional<RetiredSecretVersion> retired = {};

  bool hears(const TenantId& of, std::string_view event) const;
};

// An event on its way to one webhook.
struct WebhookDelivery {
  std::string webhook = {};
  std::string event = {};  // "evt_…": the same for all attempts, and for all webhooks
  std::string body = {};
  std::int64_t attempts = 0;
  WallTime due = {};
};

std::string encode(const Webhook& webhook);
std::string encode(const WebhookDelivery& delivery);
// Errors: kCorrupt.
Result<Webhook> decode_webhook(std::string_view text);
Result<WebhookDelivery> decode_webhook_delivery(std::string_view text);

WebhookSecret secret_of(const PepperFile& peppers, const std::string& webhook,
                        const SecretVersion& version);

}  // namespace tessera
