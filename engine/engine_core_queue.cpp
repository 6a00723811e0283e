// engine_core_queue.cpp — how many may wait, and who goes when more do.
#include <algorithm>
#include <map>
#include <string_view>

#include "engine/engine_core.hpp"
#include "engine/engine_request.hpp"

namespace tessera {

// Whoever has had a step is not asked to go: his client may have read some of the answer.
std::map<std::string, int, std::less<>> EngineCore::num_waiting_by_tenant() const {
  std::map<std::string, int, std::less<>> counts;
  for (const auto& request : requests_) {
    if (request->waits_for_first_step()) ++counts[request->tenant];
  }
  return counts;
}

EngineCore::Request* EngineCore::newest_of_heaviest() {
  const auto counts = num_waiting_by_tenant();
  Request* newest = nullptr;
  int most = 0;
  for (auto at = requests_.rbegin(); at != requests_.rend(); ++at) {
    Request& request = **at;
    if (!request.waits_for_first_step() || counts.at(request.tenant) <= most) continue;
    most = counts.at(request.tenant);
    newest = &request;
  }
  return newest;
}

void EngineCore::shed() {
  while (num_requests() > config_.max_requests) {
    Request* const newest = newest_of_heaviest();
    if (!newest) return;
    finish(*newest, FinishReason::kError, queue_full());
    erase_finished();
  }
}

// Whoever this step has not taken waits. Of a tenant's that are counted, those that came last go.
void EngineCore::shed_queues() {
  if (scheduler_->num_waiting() + scheduler_->num_waiting_for_adapter() == 0) return;
  std::map<std::string_view, int> num_waiting;
  for (const auto& request : requests_) {
    if (!request->max_queue || !request->waits_for_first_step()) continue;
    if (++num_waiting[request->tenant] <= *request->max_queue) continue;
    finish(*request, FinishReason::kError, queue_of_tenant_full(*request->max_queue));
  }
}

Error EngineCore::queue_full() {
  return {Code::kQueueFull, "The server has too many requests waiting. Try again soon."};
}

Error EngineCore::queue_of_tenant_full(int max_queue) {
  return {Code::kQueueFull, "The project has as many requests waiting as it may (max_queue: " +
                                std::to_string(max_queue) + "). Try again soon."};
}

}  // namespace tessera
