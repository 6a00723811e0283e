#include "gateway/adapters/engine_answers.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
namespace {

constexpr std::chrono::seconds kBreakOff{5};    // for the engine to end what was cancelled
constexpr std::chrono::milliseconds kLook{20};  // at patience and queue, if nothing else happens

// Set by the engine's thread whenever there is something to take.
class News {
 public:
  void tell() {
    {
      const std::lock_guard lock(mutex_);
      there_ = true;
    }
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLook, [this] { return there_; });
    there_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool there_ = false;
};

// One request on its way.
struct Pending {
  GenerationRequest request;
  std::shared_ptr<TokenStream> stream = {};  // null: not submitted yet
  EngineAnswer answer = {};
  bool done = false;
};

class Answers {
 public:
  Answers(Engine& engine, std::vector<GenerationRequest> requests) : engine_(engine) {
    for (GenerationRequest& request : requests) pending_.push_back({.request = std::move(request)});
  }
  ~Answers() {
    for (const Pending& pending : pending_) {
      if (pending.stream && !pending.done) pending.stream->cancel();
    }
    engine_.wake();
  }
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  Result<std::vector<EngineAnswer>> run(const Clock& clock, const AnswerPatience& patience) {
    while (true) {
      if (auto submitted = submit(); !submitted) {
        break_off(clock);
        return submitted.error();
      }
      if (take()) break;
      if (clock.steady_now() >= patience.until || patience.given_up()) {
        break_off(clock);
        return Error{Code::kServerIsOverloaded,
                     "The adapter could not be tried out in time; try again later."};
      }
      news_->wait();
    }
    return take_answers();
  }

  // What has come of them, each once.
  std::vector<EngineAnswer> take_answers() {
    std::vector<EngineAnswer> answers;
    for (Pending& pending : pending_) answers.push_back(std::move(pending.answer));
    return answers;
  }

 private:
  // Ends what is under way and waits until the engine has told how far it came.
  void break_off(const Clock& clock) {
    std::erase_if(pending_, [](const Pending& pending) { return pending.stream == nullptr; });
    for (const Pending& pending : pending_) {
      if (!pending.done) pending.stream->cancel();
    }
    engine_.wake();
    const SteadyTime until = clock.steady_now() + kBreakOff;
    while (!take() && clock.steady_now() < until) news_->wait();
  }

  // As many as the engine's queue takes.
  Result<void> submit() {
    for (Pending& pending : pending_) {
      if (pending.stream) continue;
      auto stream = std::make_shared<TokenStream>([news = news_] { news->tell(); });
      const auto submitted = engine_.submit(pending.request, stream);
      if (!submitted && submitted.error().code == Code::kQueueFull) return {};
      if (!submitted) return submitted.error();
      pending.stream = std::move(stream);
    }
    return {};
  }

  // Whether all are done.
  bool take() {
    bool all = true;
    for (Pending& pending : pending_) {
      if (pending.stream && !pending.done) {
        TokenEvents events = pending.stream->take();
        std::ranges::move(events.tokens, std::back_inserter(pending.answer.tokens));
        pending.done = events.finished.has_value();
        if (pending.done) pending.answer.finish = *std::move(events.finished);
      }
      all = all && pending.done;
    }
    return all;
  }

  Engine& engine_;
  const std::shared_ptr<News> news_ = std::make_shared<News>();  // streams may outlive this
  std::vector<Pending> pending_;
};

}  // namespace

Result<std::vector<EngineAnswer>> answer_all(Engine& engine,
                                             std::vector<GenerationRequest> requests,
                                             const Clock& clock, const AnswerPatience& patience,
                                             std::vector<EngineAnswer>* broken_off) {
  Answers answers(engine, std::move(requests));
  auto whole = answers.run(clock, patience);
  if (!whole && broken_off != nullptr) *broken_off = answers.take_answers();
  return whole;
}

}  // namespace tessera
