#include "engine/engine_core.hpp"

#include <algorithm>
#include <cassert>
#include <exception>
#include <limits>
#include <utility>

#include "engine/engine_request.hpp"
#include "engine/model/forward.hpp"

namespace tessera {
namespace {

int context_limit(const EngineConfig& config, const ModelSpec& spec) {
  const int capacity = config.backend.num_blocks * config.backend.block_size;
  const int wanted = config.max_context > 0 ? config.max_context : spec.max_positions;
  return std::min({wanted, spec.max_positions, capacity});
}

SchedulerLimits scheduler_limits(const EngineConfig& config) {
  const int max_seqs = std::min(config.backend.max_seqs, config.backend.max_logit_rows);
  return {.max_seqs = max_seqs,
          .num_blocks = config.backend.num_blocks,
          .block_size = config.backend.block_size,
          .max_prompt_logits = config.backend.max_logit_rows - max_seqs,
          .adapters = config.adapters};
}

// What the device holds at a time. Where KV shares its memory, the device says what has room.
SlotLimits device_limits(const EngineConfig& config) {
  SlotLimits limits = config.adapters;
  if (config.shares.is_of_device) limits.max_bytes = std::numeric_limits<std::size_t>::max();
  return limits;
}

std::unique_ptr<AdapterRoom> make_room(const ShareLimits& shares, Backend& backend,
                                       HostCache& host_cache, AdapterSlots& slots) {
  if (shares.is_of_device) return std::make_unique<DeviceRoom>(backend, slots, shares.block_bytes);
  return std::make_unique<HostRoom>(backend, host_cache, shares.block_bytes);
}

// How long a step waits for masks when there is nothing else to do.
constexpr std::chrono::milliseconds kIdlePatience{2};

}  // namespace

EngineCore::EngineCore(std::unique_ptr<Backend> backend, const ModelSpec& spec,
                       HostCache& host_cache, EngineConfig config)
    : config_(std::move(config)),
      vocab_size_(spec.vocab_size),
      num_layers_(spec.num_layers()),
      max_context_(context_limit(config_, spec)),
      short_positions_(spec.short_positions()),
      host_cache_(host_cache),
      backend_(std::move(backend)),
      sampler_(vocab_size_),
      adjuster_(vocab_size_),
      scheduler_(std::in_place, scheduler_limits(config_)),
      slots_(*backend_, device_limits(config_)),
      room_(make_room(config_.shares, *backend_, host_cache_, slots_)),
      memory_(config_.shares, *room_),
      batch_(config_.backend, max_context_),
      drawn_rows_(config_.backend.max_logit_rows),
      mask_workers_(config_.mask_threads) {
  memory_.begin(scheduler_->pool());
}

EngineCore::~EngineCore() {
  cancel_all();
}

void EngineCore::add(GenerationRequest request, std::shared_ptr<TokenStream> stream) {
  assert(check(request));
  auto added = std::make_unique<Request>(next_id_++, std::move(request), std::move(stream));
  added->long_rope = short_positions_ > 0 && added->max_total_tokens > short_positions_;
  for (const AdapterDigest& digest : added->wanted) host_cache_.prefetch(digest, added->tenant);
  if (added->guided) ++counters_.num_guided_requests;
  scheduler_->add(*added);
  requests_.push_back(std::move(added));
}

bool EngineCore::step(int max_rows) {
  drop_cancelled();
  release_excess();
  receive_adapters();
  const bool holds = resume_held();
  schedule(max_rows);
  shed_queues();
  release_preempted();
  const bool computes = !batch_.empty();
  if (computes) {
    try {
      pin_adapters();
      request_masks();
      run();
      update();
    } catch (const std::exception& failure) {
      fail_running(failure.what());
    }
  } else if (holds) {
    mask_workers_.wait_for_any(MaskWorkers::Clock::now() + kIdlePatience);
  }
  erase_finished();
  return computes || holds;
}

// What is wanted of the other side's memory for this step comes before the next: but not if there
// would be no next, because nothing runs.
void EngineCore::schedule(int max_rows) {
  balance_memory(max_rows);
  scheduler_->schedule(batch_, max_rows);
  const bool has_got_blocks = get_missing_blocks();
  const bool wants_pages = config_.shares.is_of_device && scheduler_->wanted_adapter_bytes() > 0;
  if (!batch_.empty() || !(has_got_blocks || wants_pages)) return;
  balance_memory(max_rows);
  scheduler_->schedule(batch_, max_rows);
}

void EngineCore::balance_memory(int max_rows) {
  room_->want(scheduler_->wanted_adapter_bytes());
  const int step_blocks = scheduler_->num_running() + scheduler_->pool().blocks_for(max_rows);
  memory_.balance(scheduler_->pool(), step_blocks);
  if (const auto bytes = room_->usable()) scheduler_->set_adapter_bytes(*bytes);
}

// Whether blocks came for whoever lacked them. Slots that nobody uses let go of the pages in them
// if that is what KV needs.
bool EngineCore::get_missing_blocks() {
  const int missing = scheduler_->num_missing_blocks();
  if (missing == 0) return false;
  if (memory_.provide(scheduler_->pool(), missing)) return true;
  if (!memory_.kv_is_owed(scheduler_->pool()) || slots_.evict_idle() == 0) return false;
  demote_evicted();
  return memory_.provide(scheduler_->pool(), missing);
}

void EngineCore::drop_cancelled() {
  for (const auto& request : requests_) {
    if (request->stream->cancelled()) finish(*request, FinishReason::kCancelled);
  }
}

// Whoever was preempted lets go of its adapter's slot.
void EngineCore::release_preempted() {
  for (Sequence* sequence : batch_.preempted()) {
    auto& request = static_cast<Request&>(*sequence);
    request.pins.clear();
    request.held = false;  // the same logits will come again
    ++counters_.num_preemptions;
  }
}

// Begins the masks that this step's logits will meet, and the constraints of those who are new.
// Those at hand come first: a worker that has begun keeps others from looking.
void EngineCore::request_masks() {
  mask_deadline_ = MaskWorkers::Clock::now() + config_.mask_patience;
  bool all_filled = true;
  for (const BatchEntry& entry : batch_.entries()) {
    const auto& guided = static_cast<Request&>(*entry.sequence).guided;
    if (guided == nullptr || !guided->done() || guided->filled()) continue;
    if (entry.catches_up && guided->fill_at_once()) {
      ++counters_.num_ready_masks;
    } else {
      all_filled = false;
    }
  }
  if (all_filled) return;
  for (const BatchEntry& entry : batch_.entries()) {
    const auto& guided = static_cast<Request&>(*entry.sequence).guided;
    if (guided == nullptr || !guided->done() || guided->filled()) continue;
    if (!entry.catches_up && guided->begun()) continue;
    ++counters_.num_computed_masks;
    mask_workers_.start(guided);
  }
}

void EngineCore::run() {
  run_forward(*backend_, num_layers_, batch_.build());
}

void EngineCore::update() {
  scheduler_->advance(batch_);
  ++counters_.num_steps;
  counters_.num_computed_tokens += static_cast<std::uint64_t>(batch_.num_rows());
  draw();
  next_logits_ = 0;
  next_state_ = 0;
  for (const BatchEntry& entry : batch_.entries()) {
    auto& request = static_cast<Request&>(*entry.sequence);
    const int reached = std::min(request.num_computed, request.num_prompt_tokens);
    request.num_prompt_computed = std::max(request.num_prompt_computed, reached);
    read_prompt(request, entry);
    if (!entry.continues) continue;
    const int row = next_logits_++;
    if (request.state == SequenceState::kFinished) continue;
    if (request.drawn) {
      accept(request, {.row = row, .drawn = *request.drawn});
    } else if (can_sample(request)) {
      accept(request, {.row = row});
    } else {
      const auto logits = backend_->logits(row);
      request.held = true;
      request.held_logits.assign(logits.begin(), logits.end());
      ++counters_.num_late_masks;
    }
  }
}

// Has the backend draw for all whose masks are there; the others sample from their logits.
void EngineCore::draw() {
  if (!backend_->draws()) return;
  drawn_rows_.clear();
  int row = 0;
  for (const BatchEntry& entry : batch_.entries()) {
    auto& request = static_cast<Request&>(*entry.sequence);
    request.drawn.reset();
    if (request.prompt_output == PromptOutput::kLogprobs) row += entry.num_outputs;
    if (!entry.continues) continue;
    const int own = row++;
    if (!wants_draw(request)) continue;
    request.drawn = drawn_rows_.add({.row = own,
                                     .params = request.sampling,
                                     .counts = request.counts,
                                     .ends = config_.eos_ids,
                                     .position = request.num_tokens(),
                                     .num_generated = request.num_generated(),
                                     .mask = request.guided ? request.guided->mask() : nullptr});
  }
  if (drawn_rows_.empty() || drawn_rows_.draw(*backend_)) return;
  for (const BatchEntry& entry : batch_.entries()) {
    static_cast<Request&>(*entry.sequence).drawn.reset();
  }
}

// Whether the request's next token is one to draw, from logits that nobody else wants. A guided one
// may have an opening to say first, or none at all.
bool EngineCore::wants_draw(Request& request) {
  if (request.state == SequenceState::kFinished || !DrawnRows::can_draw(request.sampling)) {
    return false;
  }
  return request.guided == nullptr ||
         (can_sample(request) && request.guided->mask() != nullptr && !request.guided->error());
}

// Whether the request's mask is there, if it needs one, and nobody is at work on its constraint.
bool EngineCore::can_sample(Request& request) {
  if (request.guided == nullptr) return true;
  return mask_workers_.wait(*request.guided, mask_deadline_) &&
         !mask_workers_.is_busy(*request.guided, mask_deadline_);
}

// Those whose masks have come meanwhile go on from the logits that they kept. Whether any is left.
bool EngineCore::resume_held() {
  bool any_left = false;
  for (const auto& request : requests_) {
    if (!request->held) continue;
    if (!request->guided->done() || mask_workers_.is_busy(*request->guided, {})) {
      any_left = true;
      continue;
    }
    request->held = false;
    accept(*request, {.held = request->held_logits});
  }
  return any_left;
}

std::optional<GeneratedToken> EngineCore::choose(const Request& request, const Source& source) {
  if (source.drawn) return drawn_rows_.token(*source.drawn);
  const auto logits = source.held.empty() ? backend_->logits(source.row) : source.held;
  auto token = sampler_.sample(adjusted(request, logits), request.sampling, request.num_tokens(),
                               request.guided ? request.guided->mask() : nullptr, logits);
  if (token && request.sampling.keep_logits && !request.guided) {
    token->logits.assign(logits.begin(), logits.end());
  }
  return token;
}

void EngineCore::accept(Request& request, const Source& source) {
  count_prompt(request);
  if (request.guided) return accept_guided(request, source);
  auto token = choose(request, source);
  if (!token) return finish(request, FinishReason::kError, not_finite());
  append_sampled(request, *std::move(token));
  finish_if_cut(request);
}

void EngineCore::accept_guided(Request& request, const Source& source) {
  GuidedSequence& guided = *request.guided;
  if (guided.error()) return finish(request, FinishReason::kError, *guided.error());
  auto advance = guided.take_opening();
  if (!advance) {
    finish_if_cut(request);  // whether it was finished is only known now, if the sequence is slow
    if (request.state == SequenceState::kFinished) return;
    auto token = choose(request, source);
    if (!token) return finish(request, FinishReason::kError, not_finite());
    if (ends(request, token->id)) return append_sampled(request, *std::move(token));
    const int left = request.sampling.max_tokens - request.num_generated();
    if (guided.slow) {
      guided.advance_later(token->id, left);
      return append_sampled(request, *std::move(token));
    }
    advance = guided.advance(token->id, left);
    if (guided.error()) return finish(request, FinishReason::kError, *guided.error());
    if (advance->sampled) append_sampled(request, *std::move(token));
  }
  append_forced(request, advance->forced);
  if (request.state == SequenceState::kFinished) return;
  if (advance->finished) return finish(request, FinishReason::kStop);
  finish_if_cut(request);
}

std::span<const float> EngineCore::adjusted(const Request& request, std::span<const float> logits) {
  return adjuster_.adjust(logits, request.sampling, request.counts, config_.eos_ids,
                          request.num_generated());
}

void EngineCore::append_sampled(Request& request, GeneratedToken token) {
  ++counters_.num_generated_tokens;
  request.append(token.id);
  if (ends(request, token.id)) return finish(request, FinishReason::kStop);
  // Without a constraint, what cuts the request comes next.
  const bool last = !request.guided && request.num_generated() >= request.sampling.max_tokens;
  last ? request.stream->push_last(std::move(token)) : request.stream->push(std::move(token));
}

// Up to a stop token of the request's own, if there is one among them.
void EngineCore::append_forced(Request& request, std::span<const TokenId> ids) {
  if (ids.empty()) return;
  const auto end = std::ranges::find_if(ids, [&](TokenId id) { return ends(request, id); });
  const bool stops = end != ids.end();
  const auto shown = ids.first(static_cast<std::size_t>(end - ids.begin()));
  for (const TokenId id : ids.first(shown.size() + (stops ? 1 : 0))) request.append(id);
  counters_.num_generated_tokens += shown.size() + (stops ? 1 : 0);
  counters_.num_forced_tokens += shown.size() + (stops ? 1 : 0);
  request.stream->push(shown);
  if (stops) finish(request, FinishReason::kStop);
}

void EngineCore::finish_if_cut(Request& request) {
  if (request.state == SequenceState::kFinished) return;
  if (request.num_generated() < request.sampling.max_tokens) return;
  finish(request, FinishReason::kLength);
}

bool EngineCore::ends(const Request& request, TokenId id) const {
  const auto contains = [id](const std::vector<TokenId>& ids) {
    return std::ranges::find(ids, id) != ids.end();
  };
  return contains(request.sampling.stop_token_ids) ||
         (!request.sampling.ignore_eos && contains(config_.eos_ids));
}

// Its memory stays until the end of the step, because the batch refers to it.
void EngineCore::finish(Request& request, FinishReason reason, Error error) {
  scheduler_->remove(request);
  close(request, reason, std::move(error));
}

// All of finish() but for the scheduler.
void EngineCore::close(Request& request, FinishReason reason, Error error) {
  request.state = SequenceState::kFinished;
  request.pins.clear();
  request.release_pages();
  request.held = false;
  ++counters_.num_finished[static_cast<std::size_t>(reason)];
  request.stream->finish({.reason = reason,
                          .generated_tokens = request.num_generated(),
                          .cached_prompt_tokens = request.num_cached,
                          .computed_prompt_tokens = request.num_prompt_computed,
                          .code = error.code,
                          .message = std::move(error.message),
                          .state = request.state_so_far()});
}

void EngineCore::cancel_all() {
  for (const auto& request : requests_) finish(*request, FinishReason::kCancelled);
  erase_finished();
}

// What the backend threw is not for clients. Blocks of the failed step were never published, so
// whoever comes next starts from what earlier steps have left.
void EngineCore::fail_running(std::string_view what) {
  note_failure(what);
  for (const auto& request : requests_) {
    if (request->state != SequenceState::kRunning) continue;
    finish(*request, FinishReason::kError, failure());
  }
}

// Whatever threw may have left the scheduler's books half written, so they are not asked.
void EngineCore::fail_all(std::string_view what) {
  note_failure(what);
  for (const auto& request : requests_) {
    if (request->state != SequenceState::kFinished) {
      close(*request, FinishReason::kError, failure());
    }
  }
  requests_.clear();
  scheduler_.emplace(scheduler_limits(config_));
  memory_.begin(scheduler_->pool());
}

void EngineCore::note_failure(std::string_view what) {
  ++counters_.num_failed_steps;
  config_.on_failure(what);
}

Error EngineCore::not_finite() {
  return {Code::kInternalError, "The model's output for this request is not finite."};
}

Error EngineCore::failure() {
  return {Code::kServerIsOverloaded, "The server failed while it computed this answer."};
}

void EngineCore::erase_finished() {
  std::erase_if(requests_,
                [](const auto& request) { return request->state == SequenceState::kFinished; });
}

EngineStats EngineCore::stats() const {
  EngineStats stats = counters_;
  stats.num_running = scheduler_->num_running();
  stats.num_waiting = scheduler_->num_waiting();
  stats.num_waiting_for_adapter = scheduler_->num_waiting_for_adapter();
  const BlockPool& pool = scheduler_->pool();
  stats.num_blocks = pool.num_blocks() - pool.num_lent();
  stats.num_cached_blocks = pool.num_free() - pool.num_blank();
  stats.num_used_blocks = stats.num_blocks - pool.num_free();
  stats.num_resident_adapters = slots_.count();
  stats.num_adapter_bytes = slots_.bytes();
  stats.num_adapter_loads = slots_.num_loads();
  stats.num_adapter_evictions = slots_.num_evictions();
  return stats;
}

}  // namespace tessera
