#include "gateway/inference/generation.hpp"

#include <algorithm>
#include <cassert>
#include <exception>
#include <functional>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/registry.hpp"
#include "gateway/config.hpp"
#include "gateway/http/error_body.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

// Why a choice ended, in OpenAI's words; a call counts only if nothing cut the answer short.
const char* finish_reason_of(FinishReason reason, const ChoiceText& text) {
  if (reason == FinishReason::kLength) return "length";
  return text.num_calls() > 0 ? "tool_calls" : "stop";
}

void log_unrecorded(const RequestId& request, const Error& error) {
  log_error("usage_not_recorded", {{"request", request.str()}, {"reason", error.message}});
}

}  // namespace

Generation::Generation(const GenerationServices& services, const Tokenizer& tokenizer,
                       GenerationPlan plan)
    : services_(services), plan_(std::move(plan)) {
  for (const GenerationRequest& request : plan_.requests) {
    const bool is_first = std::ssize(choices_) % plan_.choices_per_prompt == 0;
    choices_.emplace_back(ChoiceText(tokenizer, plan_.stop, plan_.keep_records, plan_.reading),
                          is_first ? std::ssize(request.prompt) : 0);
    const PromptEcho* echo = echo_of(static_cast<int>(choices_.size()) - 1);
    if (echo != nullptr) choices_.back().text.begin_behind(echo->num_code_points());
  }
}

Generation::~Generation() {
  if (!started_ || settled_) return;
  try {
    abandon();
    std::string unread;
    for (int index = 0; index < static_cast<int>(choices_.size()); ++index) advance(index, unread);
    if (!is_recorded_) {
      close_books();
      if (auto recorded = services_.ledger.record(plan_.record); !recorded) {
        log_unrecorded(plan_.record.request, recorded.error());
        if (plan_.key_turn) plan_.key_turn->hold();
      }
    }
    settle();
  } catch (const std::exception&) {
    // There is nobody to tell; the permit gives back what it holds by itself.
  }
}

Result<void> Generation::start(const std::function<void()>& wake) {
  wake_ = wake;
  if (auto submitted = submit_more(); !submitted) {
    abandon();  // those before it
    if (plan_.key_turn) plan_.key_turn->end();
    return submitted;
  }
  started_ = true;
  return {};
}

// Only so many at a time: a request of thousands leaves the engine's queue to others.
Result<void> Generation::submit_more() {
  auto running = std::ranges::count_if(choices_, &Choice::is_running);
  for (; num_submitted_ < choices_.size() && running < kMaxInFlight; ++num_submitted_, ++running) {
    auto stream = std::make_shared<TokenStream>(wake_);
    GenerationRequest& request = plan_.requests[num_submitted_];
    auto submitted = submit(request, stream);
    if (!submitted) return submitted;
    request = {};
    choices_[num_submitted_].stream = std::move(stream);
  }
  return {};
}

void Generation::go_on() {
  if (abandoned_ || failure_) return;
  const auto submitted = submit_more();
  if (submitted) return;
  const bool is_full = submitted.error().code == Code::kQueueFull;
  if (is_full && std::ranges::any_of(choices_, &Choice::is_running)) return;  // when one has ended
  failure_ = submitted.error();
}

// Who asks for no token, and nothing of the prompt, has his answer already, and is charged for the
// prompt.
Result<void> Generation::submit(GenerationRequest request, std::shared_ptr<TokenStream> stream) {
  if (request.sampling.max_tokens > 0 || request.prompt_output != PromptOutput::kNone) {
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
  go_on();
  if (std::ranges::any_of(choices_, &Choice::is_running)) return progress;
  if (!is_recorded_) begin_record();
  held_ += std::exchange(progress.bytes, {});
  if (!is_recorded_->load()) return progress;
  settle();
  progress.bytes = std::exchange(held_, {});
  progress.finished = true;
  if (!plan_.stream) return progress;
  if (failure_) {
    emit(plan_.format->failed(*failure_, error_object(*failure_, plan_.record.request)),
         progress.bytes);
  } else {
    emit(plan_.format->ended(usage_), progress.bytes);
  }
  return progress;
}

// Takes the events of one choice and shows what they mean.
void Generation::advance(int index, std::string& out) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (!choice.is_running() || awaits_echo(index)) return;
  TokenEvents events = choice.stream->take();
  if (!events.tokens.empty() && !first_token_seen_) {
    first_token_seen_ = true;
    services_.metrics.time_to_first_token.observe(services_.clock.steady_now() - plan_.received_at);
  }
  show_echo(index, std::move(events.prompt), out);
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

PromptEcho* Generation::echo_of(int index) {
  if (plan_.echoes.empty()) return nullptr;
  return &plan_.echoes[static_cast<std::size_t>(index / plan_.choices_per_prompt)];
}

// The first choice of a prompt brings the log-probabilities that all of its choices show.
bool Generation::awaits_echo(int index) {
  const PromptEcho* echo = echo_of(index);
  const int first = index - index % plan_.choices_per_prompt;
  return echo != nullptr && !echo->complete() && index != first &&
         choices_[static_cast<std::size_t>(first)].is_running();
}

// The prompt stands before the answer.
void Generation::show_echo(int index, std::vector<GeneratedToken> scored, std::string& out) {
  PromptEcho* echo = echo_of(index);
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (echo == nullptr || choice.echoed) return;
  echo->add(std::move(scored));
  if (!echo->complete()) return;
  choice.echoed = true;
  show(index, echo->piece(), out);
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
  emit(plan_.format->piece(index, piece), out);
}

void Generation::end_choice(int index, std::string reason, std::string& out) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  choice.finish_reason = std::move(reason);
  if (!plan_.stream) return;
  begin_through(index, out);
  emit(plan_.format->choice_ended(index, choice.finish_reason), out);
}

// Choices appear in the order of their numbers, whoever speaks first: clients append to a list.
void Generation::begin_through(int index, std::string& out) {
  for (int i = 0; i <= index; ++i) {
    Choice& choice = choices_[static_cast<std::size_t>(i)];
    if (!std::exchange(choice.begun, true)) emit(plan_.format->choice_begun(i), out);
  }
}

void Generation::emit(std::string event, std::string& out) const {
  if (!abandoned_) out += event;
}

void Generation::abandon() {
  abandoned_ = true;
  for (Choice& choice : choices_) {
    if (choice.stream) choice.stream->cancel();
  }
  services_.engine.wake();
}

// Says in the record what it came to.
void Generation::close_books() {
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
  if (plan_.key_turn) plan_.key_turn->settle(!failure_ && !abandoned_, record);
}

// At once where that needs no waiting: for the ledger's thread it takes two more turns.
void Generation::begin_record() {
  close_books();
  is_recorded_ = std::make_shared<std::atomic<bool>>(false);
  const auto note = [request = plan_.record.request, is_recorded = is_recorded_,
                     key_turn = plan_.key_turn](const Result<void>& recorded) {
    if (!recorded) log_unrecorded(request, recorded.error());
    if (!recorded && key_turn) key_turn->hold();
    is_recorded->store(true);
  };
  if (const auto recorded = services_.ledger.record_at_once(plan_.record)) return note(*recorded);
  services_.ledger.record_later(plan_.record, [note, wake = wake_](const Result<void>& recorded) {
    note(recorded);
    wake();
  });
}

// After the record: whoever sees the slot free finds what was charged for it.
void Generation::settle() {
  assert(!settled_);
  settled_ = true;
  plan_.permit.settle(
      {.tokens = usage_.prompt_tokens + usage_.completion_tokens, .cost = plan_.record.cost});
  if (plan_.key_turn) plan_.key_turn->end();
  services_.metrics.request_latency.observe(services_.clock.steady_now() - plan_.received_at);
}

HttpResponse Generation::stream_head() const {
  HttpResponse head{.headers = plan_.headers};
  head.headers.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");
  return head;
}

// Of each prompt's choices those whose tokens are the most likely on average, the best one first.
std::vector<FinishedChoice> Generation::told_choices() const {
  std::vector<FinishedChoice> told;
  const auto per_prompt = static_cast<std::size_t>(plan_.choices_per_prompt);
  const auto kept = static_cast<std::size_t>(plan_.told_per_prompt);
  for (std::size_t first = 0; first < choices_.size(); first += per_prompt) {
    std::vector<const Choice*> ranked;
    for (std::size_t i = 0; i < per_prompt; ++i) ranked.push_back(&choices_[first + i]);
    if (kept < per_prompt) {
      std::ranges::stable_sort(ranked, std::ranges::greater(),
                               [](const Choice* choice) { return choice->text.mean_logprob(); });
    }
    ranked.resize(kept);
    for (const Choice* choice : ranked) {
      told.push_back({choice->shown, choice->finish_reason,
                      choice->finish ? choice->finish->state : std::vector<float>()});
    }
  }
  return told;
}

HttpResponse Generation::whole_answer() const {
  assert(settled_);
  if (failure_) {
    HttpResponse response = error_response(*failure_, plan_.record.request);
    std::ranges::copy(plan_.headers, std::back_inserter(response.headers));
    return response;
  }
  HttpResponse response{.headers = plan_.headers};
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = plan_.format->whole(told_choices(), usage_);
  response.body += '\n';
  return response;
}

}  // namespace tessera
