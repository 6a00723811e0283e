// webhook_sending.cpp — Webhooks: what is due is sent, taken, tried again or given up.
#include <utility>

#include "gateway/version.hpp"
#include "gateway/webhooks/webhooks.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr std::chrono::seconds kLookPeriod{1};  // at most, however far off the next event is
constexpr int kGone = 410;

// Up to a quarter more, so that those who failed together do not come back together.
std::chrono::microseconds scattered(std::chrono::microseconds delay) {
  std::uint16_t random = 0;
  random_bytes(&random, sizeof random);
  return delay + delay * random / (4 * 65'536);
}

}  // namespace

void Webhooks::send(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::optional<Taken> taken;
    {
      const MutexLock lock(mutex_);
      taken = take_due();
      if (!taken) wake_.wait_for(mutex_, stop, kLookPeriod, [] { return false; });
    }
    if (taken) deliver(*taken);
  }
}

int Webhooks::deliver_due() {
  int attempts = 0;
  for (;;) {
    std::optional<Taken> taken;
    {
      const MutexLock lock(mutex_);
      taken = take_due();
    }
    if (!taken) return attempts;
    deliver(*taken);
    ++attempts;
  }
}

// The first that is due whose tenant nobody sends to; the tenant is busy then, until deliver() has
// ended.
std::optional<Webhooks::Taken> Webhooks::take_due() {
  const WallTime now = services_.clock.wall_now();
  for (const Due& due : schedule_) {
    if (due.at > now) break;
    const auto hook = hooks_.find(due.webhook);
    const TenantId tenant = hook == hooks_.end() ? TenantId() : hook->second.webhook.tenant;
    if (!busy_.insert(tenant).second) continue;
    return Taken{due, tenant};
  }
  return std::nullopt;
}

void Webhooks::deliver(const Taken& taken) {
  const Due& due = taken.due;
  std::optional<Webhook> webhook;
  {
    const MutexLock lock(mutex_);
    const auto hook = hooks_.find(due.webhook);
    if (hook != hooks_.end()) webhook = hook->second.webhook;
  }
  const auto text = services_.store.get(Family::kMeta, keys::webhook_event(due.webhook, due.event));
  const auto delivery = text && *text ? decode_webhook_delivery(**text)
                                      : Result<WebhookDelivery>(Error{Code::kNotFound, "gone"});
  if (webhook && delivery) {
    conclude(due, *delivery, attempt(*webhook, *delivery));
  } else {
    drop(due);
  }
  {
    const MutexLock lock(mutex_);
    busy_.erase(taken.tenant);
  }
  wake_.notify_all();
}

Headers Webhooks::headers_for(const Webhook& webhook, const WebhookDelivery& delivery,
                              WallTime now) const {
  const std::int64_t timestamp =
      std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  const auto signature = [&](const SecretVersion& version) {
    return webhook_signature(secret_of(services_.peppers, webhook.id, version), delivery.event,
                             timestamp, delivery.body);
  };
  std::string signatures = signature(webhook.secret);
  if (webhook.retired && now < webhook.retired->valid_until) {
    signatures += ' ' + signature(webhook.retired->version);
  }
  return {{"Content-Type", "application/json"},
          {"User-Agent", "tessera/" + std::string(kVersion)},
          {"webhook-id", delivery.event},
          {"webhook-timestamp", std::to_string(timestamp)},
          {"webhook-signature", signatures}};
}

Webhooks::Outcome Webhooks::attempt(const Webhook& webhook, const WebhookDelivery& delivery) {
  const auto url = parse_webhook_url(webhook.url, settings_.egress);
  if (!url) return {.error = "the URL is not allowed any more"};
  const auto addresses = pin_addresses(*url, settings_.egress, settings_.resolve);
  if (!addresses) return {.error = addresses.error().message};
  Outcome outcome;
  for (const auto& address : *addresses) {
    const auto status =
        client_.post({.url = *url,
                      .address = address,
                      .headers = headers_for(webhook, delivery, services_.clock.wall_now()),
                      .body = delivery.body});
    if (status) return {.status = *status};
    outcome.error = status.error().message;
    if (status.error().code != Code::kIo) break;  // the time is over
  }
  return outcome;
}

// Taken, given up, or to be tried again.
void Webhooks::conclude(const Due& due, WebhookDelivery delivery, const Outcome& outcome) {
  const WallTime now = services_.clock.wall_now();
  {
    const MutexLock lock(mutex_);
    const auto hook = hooks_.find(due.webhook);
    if (hook != hooks_.end()) {
      hook->second.last = {.at = now, .status = outcome.status, .error = outcome.error};
    }
  }
  if (outcome.status / 100 == 2) return drop(due);
  if (outcome.status == kGone) return disable(due.webhook);
  const auto attempts = static_cast<std::size_t>(delivery.attempts++);
  log_warn("webhook_not_taken", {{"webhook", due.webhook},
                                 {"event", due.event},
                                 {"attempt", delivery.attempts},
                                 {"status", outcome.status},
                                 {"reason", outcome.error}});
  if (attempts >= kWebhookRetries.size()) return drop(due);
  delivery.due = now + scattered(kWebhookRetries[attempts]);
  Batch batch;
  batch.put(Family::kMeta, keys::webhook_event(due.webhook, due.event), encode(delivery));
  const auto written = services_.store.write(batch, Durability::kBuffered);
  if (!written) log_error("webhook_not_kept", {{"reason", written.error().message}});
  const MutexLock lock(mutex_);
  if (hooks_.contains(due.webhook)) schedule(due.webhook, due.event, delivery.due);
}

void Webhooks::drop(const Due& due) {
  Batch batch;
  batch.erase(Family::kMeta, keys::webhook_event(due.webhook, due.event));
  const auto written = services_.store.write(batch, Durability::kBuffered);
  if (!written) log_error("webhook_not_kept", {{"reason", written.error().message}});
  const MutexLock lock(mutex_);
  schedule_.erase(due);
  const auto hook = hooks_.find(due.webhook);
  if (hook != hooks_.end()) unschedule(hook->second, due.event);
}

// Nothing waits for it any more, and it hears of nothing until its secret is changed.
void Webhooks::disable(const std::string& webhook) {
  const MutexLock change(change_);
  Batch batch;
  const MutexLock lock(mutex_);
  const auto found = hooks_.find(webhook);
  if (found == hooks_.end()) return;
  Hook& hook = found->second;
  hook.webhook.disabled = true;
  batch.put(Family::kMeta, keys::webhook(hook.webhook.tenant.str(), webhook), encode(hook.webhook));
  while (!hook.pending.empty()) {
    const std::string event = hook.pending.begin()->first;
    batch.erase(Family::kMeta, keys::webhook_event(webhook, event));
    unschedule(hook, event);
  }
  const auto written = services_.store.write(batch, Durability::kBuffered);
  if (!written) log_error("webhook_not_kept", {{"reason", written.error().message}});
  log_warn("webhook_disabled", {{"webhook", webhook}, {"tenant", hook.webhook.tenant.str()}});
}

}  // namespace tessera
