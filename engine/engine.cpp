#include "engine/engine.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "storage/background.hpp"

namespace tessera {

namespace {

// How often the thread looks after requests that wait for an adapter: the HostCache wakes it when
// a load ends, but not when a load that did not fit may be tried again.
constexpr std::chrono::milliseconds kAdapterPoll{20};

}  // namespace

Engine::Engine(std::unique_ptr<Backend> backend, const ModelSpec& spec, HostCache& host_cache,
               EngineConfig config)
    : host_cache_(host_cache),
      max_requests_(config.max_requests),
      core_(std::move(backend), spec, host_cache, std::move(config)),
      stats_(core_.stats()) {
  beat();
  host_cache_.set_wake([this] { wake(); });
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Engine::~Engine() {
  stop();
}

void Engine::stop() {
  if (!thread_.joinable()) return;
  host_cache_.set_wake({});
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
  }
  thread_.request_stop();
  wake();
  thread_.join();
}

Result<void> Engine::submit(GenerationRequest request, std::shared_ptr<TokenStream> stream) {
  if (auto checked = core_.check(request); !checked) return checked;
  {
    std::lock_guard lock(mutex_);
    if (draining_)
      return Error{Code::kDraining, "The server is shutting down. Try again elsewhere."};
    if (num_requests_ >= max_requests_ && !may_displace(request.tenant)) {
      return EngineCore::queue_full();
    }
    ++num_requests_;
    inbox_.push_back({std::move(request), std::move(stream)});
  }
  changed_.notify_all();
  return {};
}

// Whether another tenant has more requests waiting than this one with one more. Under mutex_.
bool Engine::may_displace(const std::string& tenant) const {
  if (std::ssize(inbox_) >= 2 * max_requests_) return false;  // however many come within a step
  auto counts = waiting_;
  for (const Submission& submission : inbox_) ++counts[submission.request.tenant];
  const int with_this = ++counts[tenant];
  return std::ranges::any_of(counts, [&](const auto& of) { return of.second > with_this; });
}

bool Engine::drain(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto is_empty = [this] { return num_requests_ == 0; };
  if (changed_.wait_until(lock, deadline, is_empty)) return true;
  cancel_all_ = true;
  changed_.notify_all();
  changed_.wait(lock, is_empty);
  return false;
}

void Engine::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void Engine::evict_adapter(const AdapterDigest& digest) {
  request_eviction({.digest = digest, .deleted = false});
}

void Engine::forget_adapter(const AdapterDigest& digest) {
  request_eviction({.digest = digest, .deleted = true});
}

void Engine::request_eviction(const Eviction& eviction) {
  {
    std::lock_guard lock(mutex_);
    evictions_.push_back(eviction);
    woken_ = true;
  }
  changed_.notify_all();
}

bool Engine::holds_adapter(const AdapterDigest& digest) const {
  std::lock_guard lock(mutex_);
  return std::ranges::find(resident_, digest) != resident_.end();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.num_waiting += static_cast<int>(inbox_.size());
  return stats;
}

void Engine::run(const std::stop_token& stop) {
  let_wakers_go_on();  // a step takes all that they bring
  core_.enter();
  bool computed = true;
  while (!stop.stop_requested()) {
    if (!computed) wait_for_work();
    beat();
    computed = turn();
    publish();
  }
  {
    std::lock_guard lock(mutex_);
    cancel_all_ = true;
  }
  turn();
  publish();
}

// The only place where exceptions end that no step's own try has met. False if there was nothing to
// compute.
bool Engine::turn() {
  try {
    take_inbox();
    return core_.step();
  } catch (const std::exception& failure) {
    fail(failure.what());
    return false;
  }
}

void Engine::fail(std::string_view what) {
  core_.fail_all(what);
  for (const Submission& submission : arrived_) {
    if (submission.stream == nullptr) continue;  // the core took it
    Error error = EngineCore::failure();
    submission.stream->finish(
        {.reason = FinishReason::kError, .code = error.code, .message = std::move(error.message)});
  }
  arrived_.clear();
}

void Engine::beat() {
  beat_at_.store(std::chrono::steady_clock::now().time_since_epoch().count(),
                 std::memory_order_relaxed);
}

std::chrono::nanoseconds Engine::heartbeat_age() const {
  using SteadyClock = std::chrono::steady_clock;
  const SteadyClock::duration beat(beat_at_.load(std::memory_order_relaxed));
  return SteadyClock::now().time_since_epoch() - beat;
}

void Engine::wait_for_work() {
  const auto has_news = [this] { return woken_ || cancel_all_ || !inbox_.empty(); };
  std::unique_lock lock(mutex_);
  if (core_.num_requests() == 0) {
    while (!changed_.wait_for(lock, kHeartbeat, has_news)) beat();
  } else {
    changed_.wait_for(lock, kAdapterPoll, has_news);
  }
  woken_ = false;
}

void Engine::take_inbox() {
  bool cancel_all = false;
  std::vector<Eviction> evictions;
  {
    std::lock_guard lock(mutex_);
    // Until publish() counts anew, so that whoever comes meanwhile is compared with them.
    for (const Submission& submission : inbox_) ++waiting_[submission.request.tenant];
    std::swap(arrived_, inbox_);
    evictions.swap(evictions_);
    cancel_all = cancel_all_;
    cancel_all_ = false;
  }
  for (Submission& submission : arrived_) {
    core_.add(std::move(submission.request), submission.stream);
    submission.stream = nullptr;
  }
  arrived_.clear();
  core_.shed();
  for (const auto& [digest, deleted] : evictions) {
    deleted ? core_.forget_adapter(digest) : core_.evict_adapter(digest);
  }
  if (cancel_all) core_.cancel_all();
}

void Engine::publish() {
  const EngineStats stats = core_.stats();
  const bool half_full = 2 * core_.num_requests() >= max_requests_;
  auto waiting = half_full ? core_.num_waiting_by_tenant() : decltype(waiting_)();
  bool drained = false;
  {
    std::lock_guard lock(mutex_);
    stats_ = stats;
    waiting_.swap(waiting);
    num_requests_ = core_.num_requests() + static_cast<int>(inbox_.size());
    if (core_.adapter_changes() != resident_version_) {
      resident_ = core_.resident_adapters();
      resident_version_ = core_.adapter_changes();
    }
    drained = draining_ && num_requests_ == 0;
  }
  if (drained) changed_.notify_all();
}

}  // namespace tessera
