// engine_core_adapters.cpp — adapters of requests: from host memory to the device, and off it.
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/engine_core.hpp"
#include "engine/engine_request.hpp"

namespace tessera {
namespace {

// Where the last occurrence of `sequence` in `prompt` begins.
std::optional<int> last_occurrence(std::span<const TokenId> prompt,
                                   std::span<const TokenId> sequence) {
  const auto found = std::ranges::find_end(prompt, sequence);
  if (found.empty()) return std::nullopt;
  return static_cast<int>(found.begin() - prompt.begin());
}

}  // namespace

// Slots that nobody uses let go of what a tenant may no longer have in memory, until it is within
// its allowance or only requests hold what is beyond it.
void EngineCore::release_excess() {
  if (!host_cache_.has_excess()) return;
  const auto was_idle = [this](const AdapterDigest& digest) { return slots_.evict(digest); };
  while (std::ranges::any_of(host_cache_.drop_excess(), was_idle)) {
  }
  demote_evicted();
}

void EngineCore::receive_adapters() {
  full_tenants_.clear();
  if (scheduler_->num_waiting_for_adapter() == 0) return;
  for (const auto& request : requests_) {
    if (request->state == SequenceState::kWaitingForAdapter) receive_adapter(*request);
  }
}

void EngineCore::receive_adapter(Request& request) {
  bool complete = true;
  for (std::size_t i = 0; i < request.wanted.size(); ++i) {
    complete &= receive_pages(request, i);
    if (request.state == SequenceState::kFinished) return;
  }
  if (complete && has_servable_pages(request)) place_adapter(request);
}

// Whether the pages of the request's adapter `index` are in host memory. What it has of others goes
// if there is no room, so that requests that mix adapters never wait for each other.
bool EngineCore::receive_pages(Request& request, std::size_t index) {
  if (request.pages[index] != nullptr) return true;
  const AdapterDigest& digest = request.wanted[index];
  HostCache::Lookup lookup = host_cache_.get(digest, request.tenant);
  switch (lookup.state) {
    case HostCache::State::kLoading:
      return false;
    case HostCache::State::kFailed:
      request.release_pages();
      if (lookup.error.code == Code::kNoCapacity && may_get_room(request, lookup)) return false;
      finish(request, FinishReason::kError, std::move(lookup.error));
      return false;
    case HostCache::State::kReady:
      break;
  }
  request.pages[index] = std::move(lookup.adapter);
  return true;
}

// Finishes the request if one of its adapters cannot be served as it asks.
bool EngineCore::has_servable_pages(Request& request) {
  for (std::size_t i = 0; i < request.pages.size(); ++i) {
    const PackedAdapter& pages = *request.pages[i];
    if (pages.max_rank() > config_.backend.max_rank) {
      finish(request, FinishReason::kError,
             {Code::kNoCapacity, "The adapter's rank is " + std::to_string(pages.max_rank()) +
                                     "; this server serves ranks up to " +
                                     std::to_string(config_.backend.max_rank) + "."});
      return false;
    }
    if (!request.mix.empty() && !pages.is_plain()) {
      const std::string param = "adapters[" + std::to_string(i) + "]";
      finish(request, FinishReason::kError,
             {Code::kInvalidValue,
              "'" + param + "' cannot be mixed: it has more than pairs of matrices.", param});
      return false;
    }
  }
  return true;
}

// All pages are there: where the adapter begins to apply is known, and the request may be queued.
void EngineCore::place_adapter(Request& request) {
  const auto invocation = request.pages.front()->invocation();
  if (!invocation.empty()) {
    const auto start = last_occurrence(request.tokens, invocation);
    if (!start) {
      request.leave_adapters();
      return scheduler_->adapter_ready(request, 0);
    }
    request.lora_start = *start;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < request.pages.size(); ++i) {
    bytes += request.pages[i]->bytes();
    if (!request.mix.empty()) request.mix[i].bytes = request.pages[i]->bytes();
  }
  scheduler_->adapter_ready(request, bytes);
}

// Host memory has no room for one more adapter's pages. True if waiting can help: idle slots let go
// of theirs now, and other requests will when they end.
bool EngineCore::may_get_room(const Request& request, const HostCache::Lookup& lookup) {
  if (lookup.exceeds_allowance) return may_get_own_room(request);
  if (slots_.evict_idle() > 0) {
    demote_evicted();
    host_cache_.forget_failures_for_room();  // so that the next look starts a load: this request's,
    return true;                             // and that of others who failed before
  }
  const bool is_owed =
      !config_.shares.is_of_device && memory_.adapters_are_owed(scheduler_->pool());
  if (is_owed && scheduler_->num_running() > 0) return true;
  return std::ranges::any_of(requests_, [](const auto& other) { return other->holds_pages(); });
}

// The same of the room that its tenant may have, which others' slots and requests are nothing to.
bool EngineCore::may_get_own_room(const Request& request) {
  if (std::ranges::find(full_tenants_, request.tenant) == full_tenants_.end()) {
    const int before = slots_.count();
    const HostCache::Held held = host_cache_.held_by(request.tenant);
    for (const AdapterDigest& digest : held.adapters) slots_.evict(digest);
    demote_evicted();
    if (slots_.count() < before) {
      host_cache_.forget_failures_for_room();
      return true;
    }
    full_tenants_.push_back(request.tenant);
  }
  return std::ranges::any_of(requests_, [&](const auto& other) {
    return other->tenant == request.tenant && other->holds_pages();
  });
}

// Whoever runs gets its slots: the scheduler has counted that they suffice.
void EngineCore::pin_adapters() {
  for (const BatchEntry& entry : batch_.entries()) {
    auto& request = static_cast<Request&>(*entry.sequence);
    if (!request.pins.empty()) continue;
    for (std::size_t i = 0; i < request.wanted.size(); ++i) {
      request.pins.push_back(slots_.pin(request.wanted[i], request.pages[i]));
      const AdapterSlot slot = request.pins.back().slot();
      (request.mix.empty() ? request.slot : request.mix[i].slot) = slot;
    }
  }
  demote_evicted();
}

void EngineCore::evict_adapter(const AdapterDigest& digest) {
  slots_.evict(digest);
  host_cache_.evict(digest);
  demote_evicted();
}

void EngineCore::forget_adapter(const AdapterDigest& digest) {
  evict_adapter(digest);
  scheduler_->forget(digest);
}

// Prefixes of adapters that have left the device are the first whose blocks are needed by others.
void EngineCore::demote_evicted() {
  if (!slots_.has_evicted()) return;
  for (const AdapterDigest& digest : slots_.take_evicted()) scheduler_->demote(digest);
}

}  // namespace tessera
