#include "gateway/http/idempotency.hpp"

#include <algorithm>
#include <utility>

#include "gateway/http/answer_vault.hpp"

namespace tessera {
namespace {

bool may_do_better_later(int status) {
  return status == 408 || status == 429 || status == 503 || status == 504;
}

std::size_t bytes_of(const HttpResponse& answer) {
  std::size_t bytes = answer.body.size();
  for (const auto& [name, value] : answer.headers) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

bool is_idempotency_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxIdempotencyKeyChars &&
         std::ranges::all_of(key, [](char c) { return c >= 0x20 && c < 0x7F; });
}

Result<void> IdempotentAnswers::attach(std::shared_ptr<AnswerVault> vault, WallTime now) {
  std::vector<ContentDigest> erased;
  {
    const MutexLock lock(mutex_);
    const auto keep = [&](AnswerVault::Kept kept) {
      if (kept.begun + limits_.kept <= now) {
        erased_.push_back(kept.asked.place);
        return;
      }
      add(kept.asked, kept.begun);
      set_answer(entries_.at(kept.asked.place), std::move(kept.answer));
    };
    if (auto loaded = vault->load(keep); !loaded) return loaded;
    while (bytes_ > limits_.all_bytes && erase_oldest_answer(all_)) {
    }
    vault_ = std::move(vault);
    erased = take_erased();
  }
  erase_stored(erased);
  return {};
}

void IdempotentAnswers::set_answer(Entry& entry, HttpResponse answer) {
  entry.bytes = bytes_of(answer);
  bytes_ += entry.bytes;
  entry.answer = std::move(answer);
}

std::vector<ContentDigest> IdempotentAnswers::take_erased() {
  return std::exchange(erased_, {});
}

void IdempotentAnswers::erase_stored(const std::vector<ContentDigest>& places) {
  if (vault_ && !places.empty()) vault_->erase(places);
}

IdempotentAnswers::Outcome IdempotentAnswers::begin(const Asked& asked, WallTime now) {
  const MutexLock lock(mutex_);
  expire(now);
  const auto found = entries_.find(asked.place);
  if (found != entries_.end()) {
    const Entry& entry = found->second;
    if (entry.content != asked.content) return {.turn = Turn::kOtherContent};
    if (!entry.answer) return {.turn = Turn::kUnderWay};
    return {.turn = Turn::kAgain, .answer = *entry.answer};
  }
  const auto others = of_caller_.find(asked.caller);
  const bool full =
      others != of_caller_.end() && others->second.size() >= limits_.answers_of_caller;
  if (full && !erase_oldest_answer(others->second)) return {.turn = Turn::kUnderWay};
  add(asked, now);
  return {.turn = Turn::kFirst};
}

void IdempotentAnswers::add(const Asked& asked, WallTime now) {
  Places& of_caller = of_caller_[asked.caller];
  Entry entry{.caller = asked.caller, .content = asked.content, .begun = now};
  entry.in_all = all_.insert(all_.end(), asked.place);
  entry.in_caller = of_caller.insert(of_caller.end(), asked.place);
  entries_.emplace(asked.place, std::move(entry));
}

void IdempotentAnswers::keep(const ContentDigest& place, const HttpResponse& answer) {
  std::optional<AnswerVault::Kept> kept;
  std::vector<ContentDigest> erased;
  {
    const MutexLock lock(mutex_);
    const std::size_t bytes = bytes_of(answer);
    if (may_do_better_later(answer.status) || answer.source || bytes > limits_.answer_bytes) {
      return erase(place);
    }
    while (bytes_ + bytes > limits_.all_bytes && erase_oldest_answer(all_)) {
    }
    const auto found = entries_.find(place);
    if (found == entries_.end()) return;
    Entry& entry = found->second;
    HttpResponse again = answer;
    again.headers.emplace_back("Idempotent-Replayed", "true");
    set_answer(entry, std::move(again));
    if (vault_) {
      kept = {.asked = {.caller = entry.caller, .place = place, .content = entry.content},
              .begun = entry.begun,
              .answer = *entry.answer};
    }
    erased = take_erased();
  }
  erase_stored(erased);
  if (kept) vault_->put(*kept);
}

void IdempotentAnswers::forget(const ContentDigest& place) {
  const MutexLock lock(mutex_);
  erase(place);
}

std::size_t IdempotentAnswers::size() const {
  const MutexLock lock(mutex_);
  return entries_.size();
}

std::size_t IdempotentAnswers::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

void IdempotentAnswers::erase(const ContentDigest& place) {
  const auto found = entries_.find(place);
  if (found == entries_.end()) return;
  const Entry& entry = found->second;
  if (vault_ && entry.answer) erased_.push_back(place);
  bytes_ -= entry.bytes;
  const auto of_caller = of_caller_.find(entry.caller);
  of_caller->second.erase(entry.in_caller);
  if (of_caller->second.empty()) of_caller_.erase(of_caller);
  all_.erase(entry.in_all);
  entries_.erase(found);
}

// What is still under way is not forgotten, however long it takes.
void IdempotentAnswers::expire(WallTime now) {
  while (!all_.empty()) {
    const ContentDigest oldest = all_.front();
    const Entry& entry = entries_.at(oldest);
    if (!entry.answer || entry.begun + limits_.kept > now) return;
    erase(oldest);
  }
}

// False if none of them has an answer yet.
bool IdempotentAnswers::erase_oldest_answer(const Places& places) {
  for (const ContentDigest& at : places) {
    if (!entries_.at(at).answer) continue;
    const ContentDigest place = at;
    erase(place);
    return true;
  }
  return false;
}

}  // namespace tessera
