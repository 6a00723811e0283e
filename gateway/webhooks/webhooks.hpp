// webhooks.hpp — events told to receivers that tenants and admins name, at least once each.
//
// An event is queued in the store, in the same batch as the change that it tells where there is
// one, and goes when a receiver has answered 2xx: after kill -9 it is sent again, under the same
// id. What is not taken is tried again after kWebhookRetries, a little scattered; after the last of
// them the event is given up. A receiver that answers 410 is disabled. Each queue is bounded: an
// event that finds one full is lost to that webhook, which says how many it has lost.
//
// A few threads send. At most one of them is busy with one tenant's webhooks, so that a slow
// receiver holds up nobody else's events while there are fewer slow tenants than threads. Events of
// one webhook may arrive out of order.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/webhooks/egress.hpp"
#include "gateway/webhooks/webhook_client.hpp"
#include "gateway/webhooks/webhook_records.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"
#include "tenancy/directory.hpp"

namespace tessera {

inline constexpr std::size_t kMaxWebhooksOfTenant = 8;           // and of the platform
inline constexpr std::size_t kMaxPendingOfWebhook = 1000;        // events that wait
inline constexpr std::size_t kMaxPendingWebhookEvents = 50'000;  // of all webhooks together
inline constexpr int kWebhookThreads = 4;
// After the first attempt, and each one after it: a day and a half in all.
inline constexpr std::array<std::chrono::seconds, 9> kWebhookRetries = {
    std::chrono::seconds(1), std::chrono::seconds(10), std::chrono::minutes(1),
    std::chrono::minutes(5), std::chrono::minutes(30), std::chrono::hours(1),
    std::chrono::hours(4),   std::chrono::hours(10),   std::chrono::hours(20)};

// What there is to hear of, beside "webhook.test": every event of adapters, and
// "spend_alert.triggered".
const std::vector<std::string>& webhook_event_types();

struct WebhookEvent {
  std::string id = {};  // "evt_…"; one that is told twice under one id is queued once
  std::string type = {};
  TenantId tenant = {};
  std::string body = {};  // as it is sent
};

// The event with its body: OpenAI's event object around `data`. An empty id: a new one.
WebhookEvent make_webhook_event(std::string id, std::string type, const TenantId& tenant,
                                const nlohmann::ordered_json& data, WallTime now);

struct WebhookAttempt {
  WallTime at = {};
  int status = 0;          // of the answer; 0: there was none
  std::string error = {};  // why not
};

// Thread-safe. What it is made of outlives it.
class Webhooks {
 public:
  struct Services {
    Store& store;
    TenantDirectory& directory;
    const PepperFile& peppers;
    const Clock& clock;
  };
  struct Settings {
    EgressRules egress = {};
    Resolver resolve = resolve_host;
    int num_threads = kWebhookThreads;  // 0: only deliver_due() sends
  };

  // Reads what the store has; events that wait are sent from now on. Errors: kCorrupt, those of
  // Store.
  static Result<std::unique_ptr<Webhooks>> open(const Services& services, Settings settings);
  ~Webhooks();

  // A webhook as it stands. An empty tenant, here and below, is the platform.
  struct State {
    Webhook webhook;
    std::size_t num_pending = 0;
    std::uint64_t num_lost = 0;  // since the server started, as the next
    std::optional<WebhookAttempt> last = {};
  };
  std::vector<State> list(const TenantId& tenant) const;  // oldest first
  // Errors: kNotFound, also for another tenant's.
  Result<State> find(const TenantId& tenant, const std::string& id) const;

  // The only moments at which a secret is shown.
  struct Secret {
    State state;
    std::string text;
  };
  // Errors: kInvalidValue for a URL or an event that cannot be, or if there are as many as may be;
  // those of Store.
  Result<Secret> create(const Caller& actor, const TenantId& tenant, const std::string& url,
                        std::vector<std::string> events, WallTime now);
  // What waits for it goes too. Errors: kNotFound, those of Store.
  Result<void> remove(const Caller& actor, const TenantId& tenant, const std::string& id,
                      WallTime now);
  // Signs with a new secret, and until now + grace with the old one too; enables it again.
  Result<Secret> rotate(const Caller& actor, const TenantId& tenant, const std::string& id,
                        std::chrono::seconds grace, WallTime now);
  // Queues a "webhook.test" for it and returns the event's id.
  Result<std::string> test(const TenantId& tenant, const std::string& id, WallTime now);

  // Queues an event with somebody else's change: adds what is to be written to the batch; the
  // caller says so when the batch was written.
  using Queued = std::vector<WebhookDelivery>;
  Queued prepare(Batch& batch, const WebhookEvent& event, WallTime now);
  void commit(const Queued& queued);
  // The same in a write of its own. Errors: those of Store.
  Result<void> tell(const WebhookEvent& event, WallTime now);

  // Sends what is due now, in this thread; returns how many attempts were made.
  int deliver_due();

  // Ends the threads; what is under way is tried again after the next start.
  void stop();

 private:
  struct Hook {
    Webhook webhook;
    std::map<std::string, WallTime> pending = {};  // events, and when each is due
    std::uint64_t num_lost = 0;
    std::optional<WebhookAttempt> last = {};
  };
  struct Due {
    WallTime at;
    std::string webhook;
    std::string event;
    auto operator<=>(const Due&) const = default;
  };
  struct Outcome {
    int status = 0;
    std::string error = {};
  };
  struct Taken {
    Due due;
    TenantId tenant;  // that is busy with it
  };

  Webhooks(const Services& services, Settings settings);
  Result<void> load();

  static State state_of(const Hook& hook);
  Hook* owned(const TenantId& tenant, const std::string& id) TESSERA_REQUIRES(mutex_);
  const Hook* owned(const TenantId& tenant, const std::string& id) const TESSERA_REQUIRES(mutex_);
  bool has_room(Hook& hook) TESSERA_REQUIRES(mutex_);
  void schedule(const std::string& webhook, const std::string& event, WallTime due)
      TESSERA_REQUIRES(mutex_);
  void unschedule(Hook& hook, const std::string& event) TESSERA_REQUIRES(mutex_);

  void send(const std::stop_token& stop);
  std::optional<Taken> take_due() TESSERA_REQUIRES(mutex_);
  void deliver(const Taken& taken);
  Outcome attempt(const Webhook& webhook, const WebhookDelivery& delivery);
  Headers headers_for(const Webhook& webhook, const WebhookDelivery& delivery, WallTime now) const;
  void conclude(const Due& due, WebhookDelivery delivery, const Outcome& outcome);
  void drop(const Due& due);
  void disable(const std::string& webhook);

  const Services services_;
  const Settings settings_;
  WebhookClient client_;
  Mutex change_;  // one change of a webhook at a time; taken before mutex_
  mutable Mutex mutex_;
  std::condition_variable_any wake_;
  std::map<std::string, Hook> hooks_ TESSERA_GUARDED_BY(mutex_);
  std::set<Due> schedule_ TESSERA_GUARDED_BY(mutex_);
  std::set<TenantId> busy_ TESSERA_GUARDED_BY(mutex_);  // that a thread sends to
  std::vector<std::jthread> threads_;                   // last: they end before the rest
};

}  // namespace tessera
