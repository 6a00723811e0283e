#include "gateway/inference/generation.hpp"

#include <algorithm>
#include <cassert>
#include <exception>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/registry.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/http/sse.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

// Why a choice ended, in OpenAI's words; a call counts only if nothing cut the answer short.
const char* finish_reason_of(FinishReason reason, const ChoiceText& text) {
  if (reason == FinishReason::kLength) return "length";
  return text.num_calls() > 0 ? "tool_calls" : "stop";
}

}  // namespace

Generation::Generation(const GenerationServices& services, const Tokenizer& tokenizer,
                       GenerationPlan plan)
    : services_(services), plan_(std::move(plan)) {
  for (const GenerationRequest& request : plan_.requests) {
    const bool keep_records = request.sampling.num_logprobs >= 0;
    const bool is_first = std::ssize(choices_) % plan_.choices_per_prompt == 0;
    choices_.emplace_back(ChoiceText(tokenizer, plan_.stop, keep_records, plan_.reading),
                          is_first ? std::ssize(request.prompt) : 0);
  }
}

Generation::~Generation() {
  if (!started_ || settled_) return;
  try {
    abandon();
    std::string unread;
    for (int index = 0; index < static_cast<int>(choices_.size()); ++index) advance(index, unread);
    settle();
  } catch (const std::exception&) {
    // There is nobody to tell; the permit gives back what it holds by itself.
  }
}

Result<void> Generation::start(const std::function<void()>& wake) {
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    auto stream = std::make_shared<TokenStream>(wake);
    auto submitted = submit(std::move(plan_.requests[i]), stream);
    if (!submitted) {
      abandon();  // those before it
      return submitted.error();
    }
    choices_[i].stream = std::move(stream);
  }
  started_ = true;
  return {};
}

// The engine makes at least one token. Who asks for none has his answer already, and is charged for
// the prompt.
Result<void> Generation::submit(GenerationRequest request, std::shared_ptr<TokenStream> stream) {
  if (request.sampling.max_tokens > 0) {
    return services_.engine.submit(std::move(request), std::move(stream));
  }
  stream->finish({.reason = FinishReason::kLength,
                  .computed_prompt_tokens = static_cast<int>(request.prompt.size())});
  return {};
}

Generation::Progress Generation::poll() {
  Progress progress;
  for (int index = 0; index < static_cast<int>(choices_.size()); ++index) {
    advance(index, progress.bytes);
  }
  if (!std::ranges::all_of(choices_,
                           [](const Choice& choice) { return choice.finish.has_value(); })) {
    return progress;
  }
  settle();
  progress.finished = true;
  if (!plan_.stream) return progress;
  if (failure_) {
    // A broken stream ends with its error and without [DONE], so that nobody takes it for whole.
    nlohmann::ordered_json event;
    event["error"] = error_object(*failure_, plan_.record.request);
    emit(event, progress.bytes);
    return progress;
  }
  emit(plan_.format->usage_chunk(usage_), progress.bytes);
  progress.bytes += kSseDone;
  return progress;
}

// Takes the events of one choice and shows what they mean.
void Generation::advance(int index, std::string& out) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (choice.finish) return;
  TokenEvents events = choice.stream->take();
  if (!events.tokens.empty() && !first_token_seen_) {
    first_token_seen_ = true;
    services_.metrics.time_to_first_token.observe(services_.clock.steady_now() - plan_.received_at);
  }
  if (choice.finish_reason.empty()) {
    show(index, choice.text.push(std::move(events.tokens)), out);
    if (choice.text.stopped()) {
      choice.stream->cancel();
      end_choice(index, finish_reason_of(FinishReason::kStop, choice.text), out);
    }
  }
  if (!events.finished) return;
  choice.finish = std::move(events.finished);
  if (!choice.finish_reason.empty()) return;
  if (auto failure = failure_of(*choice.finish)) {
    if (!failure_) failure_ = std::move(failure);
    return;
  }
  if (choice.finish->reason == FinishReason::kCancelled) return;
  show(index, choice.text.flush(), out);
  end_choice(index, finish_reason_of(choice.finish->reason, choice.text), out);
}

// Why the engine ended a choice without an answer; nullopt if it did answer, or nobody wants one.
std::optional<Error> Generation::failure_of(const Finish& finish) const {
  switch (finish.reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return std::nullopt;
    case FinishReason::kCancelled:
      if (abandoned_) return std::nullopt;
      return Error{Code::kDraining, "The server was stopped before the answer was complete."};
    case FinishReason::kError:
      // The adapter was deleted after the request had come in.
      if (finish.code == Code::kNotFound) return model_not_found(plan_.record.model);
      return Error{finish.code, finish.message};
  }
  return std::nullopt;
}

// After a stop string the engine may have gone on for a step; its length then depends on timing,
// the tokens up to the stop do not. Without a finish, what is known is what has come.
Usage Generation::usage_of(const Choice& choice) {
  const std::int64_t num_read = choice.text.num_tokens();
  if (!choice.finish) {
    return {.prompt_tokens = num_read > 0 ? choice.prompt_tokens : 0,
            .completion_tokens = num_read,
            .reasoning_tokens = choice.text.num_reasoning_tokens()};
  }
  const std::int64_t computed = choice.finish->computed_prompt_tokens;
  const std::int64_t prompt = std::min(choice.prompt_tokens, computed);
  return {.prompt_tokens = prompt,
          .cached_tokens = std::min<std::int64_t>(choice.finish->cached_prompt_tokens, prompt),
          .completion_tokens = choice.text.stopped() ? num_read : choice.finish->generated_tokens,
          .reasoning_tokens = choice.text.num_reasoning_tokens()};
}

// What the usage record says of the end.
std::string Generation::finish_code() const {
  if (failure_) return std::string(to_string(failure_->code));
  if (abandoned_) return "client_closed_request";
  return choices_.front().finish_reason;
}

void Generation::show(int index, Piece piece, std::string& out) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (!plan_.stream) return choice.shown.append(std::move(piece));
  if (piece.empty()) return;
  begin_through(index, out);
  for (const auto& chunk : plan_.format->piece_chunks(index, piece)) emit(chunk, out);
}

void Generation::end_choice(int index, std::string reason, std::string& out) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  choice.finish_reason = std::move(reason);
  if (!plan_.stream) return;
  begin_through(index, out);
  emit(plan_.format->last_chunk(index, choice.finish_reason), out);
}

// Choices appear in the order of their numbers, whoever speaks first: clients append to a list.
void Generation::begin_through(int index, std::string& out) {
  for (int i = 0; i <= index; ++i) {
    Choice& choice = choices_[static_cast<std::size_t>(i)];
    if (!std::exchange(choice.begun, true)) emit(plan_.format->first_chunk(i), out);
  }
}

void Generation::emit(const nlohmann::ordered_json& chunk, std::string& out) const {
  if (!chunk.is_null() && !abandoned_) out += sse_event(to_text(chunk));
}

void Generation::abandon() {
  abandoned_ = true;
  for (Choice& choice : choices_) {
    if (choice.stream) choice.stream->cancel();
  }
  services_.engine.wake();
}

// Charges and records what it cost; before the last bytes of the answer are sent.
void Generation::settle() {
  assert(!settled_);
  settled_ = true;
  if (!failure_) {
    for (const Choice& choice : choices_) usage_ += usage_of(choice);
  }
  UsageRecord& record = plan_.record;
  record.prompt_tokens = usage_.prompt_tokens;
  record.cached_tokens = usage_.cached_tokens;
  record.completion_tokens = usage_.completion_tokens;
  record.cost =
      plan_.price.of(usage_.prompt_tokens, usage_.cached_tokens, usage_.completion_tokens);
  record.finish = finish_code();
  record.finished = services_.clock.wall_now();
  if (auto recorded = services_.ledger.record(record); !recorded) {
    log_error("usage_not_recorded",
              {{"request", record.request.str()}, {"reason", recorded.error().message}});
  }
  // After the record: whoever sees the slot free finds what was charged for it.
  plan_.permit.settle(
      {.tokens = usage_.prompt_tokens + usage_.completion_tokens, .cost = record.cost});
  services_.metrics.request_latency.observe(services_.clock.steady_now() - plan_.received_at);
}

HttpResponse Generation::stream_head() const {
  HttpResponse head{.headers = plan_.headers};
  head.headers.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");
  return head;
}

HttpResponse Generation::whole_answer() const {
  assert(settled_);
  if (failure_) {
    HttpResponse response = error_response(*failure_, plan_.record.request);
    std::ranges::copy(plan_.headers, std::back_inserter(response.headers));
    return response;
  }
  std::vector<FinishedChoice> choices;
  for (const Choice& choice : choices_) choices.push_back({choice.shown, choice.finish_reason});
  HttpResponse response{.headers = plan_.headers};
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = to_text(plan_.format->whole(choices, usage_)) + "\n";
  return response;
}

}  // namespace tessera
