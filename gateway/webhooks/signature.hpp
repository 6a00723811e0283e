// signature.hpp — how a webhook's receiver knows that it was us: the Standard Webhooks form.
//
// Three headers: `webhook-id` names the event, `webhook-timestamp` says in Unix seconds when this
// attempt was made, and `webhook-signature` is a list, parted by blanks, of "v1," and the base64 of
// HMAC-SHA-256(secret, id "." timestamp "." body). There is one for each secret that is in force,
// so that a receiver may change to a new one at any moment of the overlap. Source: Standard
// Webhooks 1.0, which OpenAI's webhooks follow too.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "storage/clock.hpp"

namespace tessera {

using WebhookSecret = std::array<std::uint8_t, 32>;

// "whsec_" and base64, as receivers' libraries take it.
std::string secret_text(const WebhookSecret& secret);

// "v1,…"
std::string webhook_signature(std::span<const std::uint8_t> secret, std::string_view id,
                              std::int64_t timestamp, std::string_view body);

std::string base64_text(std::span<const std::uint8_t> bytes);

}  // namespace tessera
