// generation.hpp — one inference request from its permit to its last byte.
//
// Made by a handler once the prompt is tokenised and the tokens are reserved. From then on the
// session's strand drives it: start() hands the prompts to the engine, poll() turns what has come
// since into bytes, until it says finished. However it ends (a stop string, the engine, an absent
// client, its own destruction), what it cost is charged and recorded once, before the last bytes go
// out. The ledger's own thread writes the record; what is left of the answer waits for it, and
// nobody else does.
//
// What it costs: for an answer, its prompt and all that was generated; for one that the client gave
// up, as much of the prompt as was computed and all that was generated; for one that failed,
// nothing: the reservation is given back, and the usage record has no tokens and the error's code.
// Under an Idempotency-Key that was charged before, only what is still due (key_charges.hpp).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/package_shelf.hpp"
#include "engine/engine.hpp"
#include "gateway/admin/metrics.hpp"
#include "gateway/http/http.hpp"
#include "gateway/inference/answer_format.hpp"
#include "gateway/inference/choice_text.hpp"
#include "gateway/inference/key_charges.hpp"
#include "gateway/inference/prompt_echo.hpp"
#include "tenancy/admission.hpp"
#include "tenancy/prices.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

// What a Generation needs of the platform; all outlive it.
struct GenerationServices {
  Engine& engine;
  UsageLedger& ledger;
  Metrics& metrics;
  const Clock& clock;
};

// What the handler has decided.
struct GenerationPlan {
  std::vector<GenerationRequest> requests;  // one a choice, those of a prompt adjacent
  int choices_per_prompt = 1;
  int told_per_prompt = 1;         // of them: the most likely ones, if it is not all
  std::vector<PromptEcho> echoes;  // one a prompt, or none
  bool keep_records = false;       // the request asked for log-probabilities
  std::vector<std::string> stop;
  std::optional<AnswerReading> reading;  // of a chat whose answer is more than text
  bool stream = false;
  std::unique_ptr<AnswerFormat> format;
  Headers headers;     // of the answer: rate limits, adapter version
  UsageRecord record;  // all but the token counts, the finish and its time
  Permit permit;       // that holds the reservation
  Price price;         // of its tokens
  SteadyTime received_at;
  std::vector<PackagePin> pins = {};       // of the adapters' bytes
  std::shared_ptr<KeyTurn> key_turn = {};  // null: there is no Idempotency-Key
};

// Used on one strand at a time.
class Generation {
 public:
  struct Progress {
    std::string bytes;  // of the event stream; always empty if not streaming
    bool finished = false;
  };

  Generation(const GenerationServices& services, const Tokenizer& tokenizer, GenerationPlan plan);
  // One that was started and has not finished is abandoned; what it cost so far is settled.
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Hands the requests to the engine; `wake` is called, from its thread, when poll() may have news.
  // Errors: those of Engine::submit; then nothing runs on.
  Result<void> start(const std::function<void()>& wake);

  // Takes what has come. Never waits, for the disk neither.
  Progress poll();

  // The client is gone: ends the generation within a step. poll() still has to be called until it
  // says finished.
  void abandon();

  bool streaming() const { return plan_.stream; }
  // What it came to; once poll() has said that it is finished.
  const Usage& usage() const { return usage_; }
  const RequestId& request_id() const { return plan_.record.request; }
  // Status and headers of the event stream.
  HttpResponse stream_head() const;
  // After the finish: the whole answer, or the failure's. Not for a stream that has begun.
  HttpResponse whole_answer() const;
  // Why it failed, if it did.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  struct Choice {
    Choice(ChoiceText choice_text, std::int64_t prompt_size)
        : text(std::move(choice_text)), prompt_tokens(prompt_size) {}

    bool is_running() const { return stream && !finish; }

    ChoiceText text;
    std::int64_t prompt_tokens;  // that it is charged for: 0 if another choice of its prompt is
    std::shared_ptr<TokenStream> stream;
    Piece shown;                   // all pieces, if not streaming
    std::string finish_reason;     // set when no more text will come
    std::optional<Finish> finish;  // set when the engine is done with it
    bool begun = false;            // the first chunk is out
    bool echoed = false;           // its prompt is shown
  };

  Result<void> submit_more();
  Result<void> submit(GenerationRequest request, std::shared_ptr<TokenStream> stream);
  void go_on();
  PromptEcho* echo_of(int index);
  bool awaits_echo(int index);
  void show_echo(int index, std::vector<GeneratedToken> scored, std::string& out);
  void advance(int index, std::string& out);
  void end_choice(int index, std::string reason, std::string& out);
  void show(int index, Piece piece, std::string& out);
  void begin_through(int index, std::string& out);
  void emit(std::string event, std::string& out) const;
  std::vector<FinishedChoice> told_choices() const;
  std::optional<Error> failure_of(const Finish& finish) const;
  static Usage usage_of(const Choice& choice);
  std::string finish_code() const;
  void close_books();
  void begin_record();
  void settle();

  GenerationServices services_;
  GenerationPlan plan_;
  std::function<void()> wake_;
  std::vector<Choice> choices_;
  std::size_t num_submitted_ = 0;
  std::optional<Error> failure_;
  Usage usage_;                                          // once every choice has finished
  std::string held_;                                     // bytes that wait for the record
  std::shared_ptr<std::atomic<bool>> is_recorded_ = {};  // null: not asked for
  bool started_ = false;
  bool abandoned_ = false;
  bool settled_ = false;
  bool first_token_seen_ = false;
};

}  // namespace tessera
