#include "gateway/adapters/adapter_events.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_json.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kMissed = "adapter.events.missed";

// As the stream has it: named, so that a browser's EventSource can tell them apart.
std::string event_text(std::string_view type, std::string_view id, const ordered_json& data) {
  std::string text = "event: " + std::string(type) + "\n";
  if (!id.empty()) text += "id: " + std::string(id) + "\n";
  return text + "data: " + to_text(data) + "\n\n";
}

struct Event {
  std::uint64_t number;
  std::string adapter;
  std::shared_ptr<const std::string> text;
};

}  // namespace

ordered_json event_json(const RegistryChange& change) {
  using Kind = RegistryChange::Kind;
  ordered_json json;
  json["object"] = "adapter.event";
  json["type"] = event_name(change.kind);
  json["created_at"] =
      std::chrono::floor<std::chrono::seconds>(change.time).time_since_epoch().count();
  json["adapter"] = change.adapter;
  switch (change.kind) {
    case Kind::kAdapterCreated:
    case Kind::kAdapterUpdated:
    case Kind::kAdapterDeleted:
      break;
    case Kind::kVersionCreated:
    case Kind::kVersionUpdated:
      json["version"] = change.version;
      json["status"] = to_string(change.status);
      break;
    case Kind::kVersionDeleted:
      json["version"] = change.version;
      break;
    case Kind::kAliasUpdated:
      json["alias"] = change.alias;
      json["target"] = target_json(change.target);
      break;
    case Kind::kAliasDeleted:
      json["alias"] = change.alias;
      break;
  }
  return json;
}

struct AdapterEvents::State {
  struct Tenant {
    std::deque<Event> last = {};
    std::vector<Listener*> listeners = {};
    std::uint64_t heard_at = 0;      // number of its last event
    std::uint64_t forgotten_to = 0;  // its events up to this number may be forgotten
  };

  State(const Clock& the_clock, WallTime started)
      : clock(the_clock), run(std::to_string(started.time_since_epoch().count())) {}

  std::string id_of(std::uint64_t number) const { return run + '-' + std::to_string(number); }
  // Of an id of this run of the server.
  std::optional<std::uint64_t> number_of(const std::string& id) const;
  Tenant& of(const TenantId& id) TESSERA_REQUIRES(mutex) {
    return tenants.try_emplace(id, Tenant{.forgotten_to = last_number}).first->second;
  }
  void remember(const RegistryChange& change) TESSERA_REQUIRES(mutex);
  void forget_silent() TESSERA_REQUIRES(mutex);
  std::string replay(const Tenant& tenant, const Request& request) const TESSERA_REQUIRES(mutex);

  const Clock& clock;
  const std::string run;  // no other run of the server has it
  mutable Mutex mutex;
  bool closed TESSERA_GUARDED_BY(mutex) = false;
  std::uint64_t last_number TESSERA_GUARDED_BY(mutex) = 0;
  std::unordered_map<TenantId, Tenant> tenants TESSERA_GUARDED_BY(mutex);
};

class AdapterEvents::Listener final : public EventStream {
 public:
  Listener(std::shared_ptr<State> state, Request request, std::string replay)
      : state_(std::move(state)),
        request_(std::move(request)),
        until_(state_->clock.steady_now() + kMaxListening),
        waiting_(std::move(replay)) {}

  ~Listener() override {
    MutexLock lock(state_->mutex);
    const auto tenant = state_->tenants.find(request_.tenant);
    if (tenant != state_->tenants.end()) std::erase(tenant->second.listeners, this);
  }

  void start(std::function<void()> wake) override {
    {
      MutexLock lock(state_->mutex);
      wake_ = wake;
    }
    wake();
  }

  std::string take() override {
    if (!is_allowed()) return {};
    MutexLock lock(state_->mutex);
    num_waiting_ = 0;
    return std::exchange(waiting_, {});
  }

  bool ended() override {
    const bool over = !is_allowed() || state_->clock.steady_now() >= until_;
    MutexLock lock(state_->mutex);
    return over || state_->closed || overrun_;
  }

  // The three below under the state's lock.
  bool wants(const Event& event) const {
    return request_.adapter.empty() || request_.adapter == event.adapter;
  }
  void add(const std::string& text) {
    if (overrun_) return;
    overrun_ = ++num_waiting_ > kMaxWaitingEvents;
    if (overrun_) {
      waiting_.clear();
    } else {
      waiting_ += text;
    }
    wake();
  }
  void wake() const {
    if (wake_) wake_();
  }

 private:
  bool is_allowed() const { return !request_.is_allowed || request_.is_allowed(); }

  const std::shared_ptr<State> state_;
  const Request request_;
  const SteadyTime until_;
  // guarded by the state's mutex
  std::function<void()> wake_;
  std::string waiting_;
  std::size_t num_waiting_ = 0;
  bool overrun_ = false;
};

std::optional<std::uint64_t> AdapterEvents::State::number_of(const std::string& id) const {
  if (!id.starts_with(run + '-')) return std::nullopt;
  const std::string digits = id.substr(run.size() + 1);
  const bool is_number = !digits.empty() && digits.size() < 20 &&
                         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return std::nullopt;
  return std::stoull(digits);
}

void AdapterEvents::State::remember(const RegistryChange& change) {
  Tenant& tenant = of(change.tenant);
  const std::uint64_t number = ++last_number;
  const auto text = std::make_shared<const std::string>(
      event_text(event_name(change.kind), id_of(number), event_json(change)));
  tenant.heard_at = number;
  const Event& event = tenant.last.emplace_back(Event{number, change.adapter, text});
  for (Listener* listener : tenant.listeners) {
    if (listener->wants(event)) listener->add(*text);
  }
  if (tenant.last.size() > kRememberedEvents) {
    tenant.forgotten_to = tenant.last.front().number;
    tenant.last.pop_front();
  }
  if (tenants.size() > kRememberedTenants) forget_silent();
}

void AdapterEvents::State::forget_silent() {
  auto oldest = tenants.end();
  for (auto tenant = tenants.begin(); tenant != tenants.end(); ++tenant) {
    if (!tenant->second.listeners.empty()) continue;
    if (oldest == tenants.end() || tenant->second.heard_at < oldest->second.heard_at) {
      oldest = tenant;
    }
  }
  if (oldest != tenants.end()) tenants.erase(oldest);
}

// What the client has missed since the event that it names.
std::string AdapterEvents::State::replay(const Tenant& tenant, const Request& request) const {
  if (!request.last_event) return {};
  const auto seen = number_of(*request.last_event);
  const auto wanted = [&](const Event& event) {
    return request.adapter.empty() || request.adapter == event.adapter;
  };
  const bool complete = seen && *seen <= last_number && *seen >= tenant.forgotten_to;
  std::string text;
  if (!complete) {
    ordered_json missed;
    missed["object"] = "adapter.event";
    missed["type"] = kMissed;
    text = event_text(kMissed, {}, missed);
  }
  for (const Event& event : tenant.last) {
    if (wanted(event) && (!complete || event.number > *seen)) text += *event.text;
  }
  return text;
}

AdapterEvents::AdapterEvents(const Clock& clock, WallTime started)
    : state_(std::make_shared<State>(clock, started)) {}

void AdapterEvents::publish(std::span<const RegistryChange> changes) {
  MutexLock lock(state_->mutex);
  for (const RegistryChange& change : changes) state_->remember(change);
}

Result<std::unique_ptr<EventStream>> AdapterEvents::listen(Request request) {
  MutexLock lock(state_->mutex);
  if (state_->closed) return Error{Code::kDraining, "The server is being stopped."};
  State::Tenant& tenant = state_->of(request.tenant);
  if (std::ssize(tenant.listeners) >= kMaxListeners) {
    return Error{Code::kRateLimitExceeded, "The project has " + std::to_string(kMaxListeners) +
                                               " streams of events open, as many as it may."};
  }
  std::string missed = state_->replay(tenant, request);
  auto listener = std::make_unique<Listener>(state_, std::move(request), std::move(missed));
  tenant.listeners.push_back(listener.get());
  return listener;
}

void AdapterEvents::close() {
  MutexLock lock(state_->mutex);
  state_->closed = true;
  for (const auto& [id, tenant] : state_->tenants) {
    for (const Listener* listener : tenant.listeners) listener->wake();
  }
}

int AdapterEvents::num_listeners(const TenantId& tenant) const {
  MutexLock lock(state_->mutex);
  const auto found = state_->tenants.find(tenant);
  return found == state_->tenants.end() ? 0 : static_cast<int>(found->second.listeners.size());
}

}  // namespace tessera
