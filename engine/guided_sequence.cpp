#include "engine/guided_sequence.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "engine/guided/compiled_constraint.hpp"

namespace tessera {
namespace {

// Tokens that are appended at once at most: what can be taken back again.
constexpr std::size_t kMaxForced = 48;

constexpr char kOutOfFuel[] =
    "The constraint takes more work at this point of the answer than the server allows.";

}  // namespace

bool GuidedSequence::fill(std::uint64_t fuel) {
  catch_up();
  if (filled()) return true;
  mask_ = matcher_->mask(std::min(fuel, constraint_->limits().mask_fuel));
  return mask_ != nullptr;
}

void GuidedSequence::fill() {
  catch_up();
  if (filled()) return;
  mask_ = matcher_->mask();
  if (mask_ == nullptr) fail(Code::kSchemaTooComplex, kOutOfFuel);
}

bool GuidedSequence::fill_at_once() {
  if (filled()) return true;
  if (!matcher_ || taken_) return false;  // that is a worker's
  mask_ = matcher_->ready_mask();
  return mask_ != nullptr;
}

// The matcher comes to where the sequence is.
void GuidedSequence::catch_up() {
  if (!matcher_) return begin();
  if (!taken_) return;
  const Taken taken = *std::exchange(taken_, std::nullopt);
  finished_ = advance(taken.token, taken.left).finished;
  opening_ = !error_ && (!forced_.empty() || finished_);
}

void GuidedSequence::begin() {
  matcher_.emplace(constraint_);
  if (options_.complete_within) {
    completion_ = matcher_->shortest_completion();
    if (std::ssize(completion_) > options_.max_tokens) {
      fail(Code::kInvalidValue, "'max_tokens' is " + std::to_string(options_.max_tokens) +
                                    ", but the shortest answer that is allowed has " +
                                    std::to_string(completion_.size()) + " tokens.");
      error_->param = "max_tokens";
      return;
    }
  }
  force(options_.max_tokens);
  const bool cut = options_.complete_within && std::ssize(forced_) == options_.max_tokens;
  finished_ = matcher_->finished() || cut;
  opening_ = !forced_.empty() || finished_;
}

std::optional<GuidedSequence::Advance> GuidedSequence::take_opening() {
  if (!std::exchange(opening_, false)) return std::nullopt;
  return Advance{.forced = forced_, .finished = finished_};
}

GuidedSequence::Advance GuidedSequence::advance(TokenId token, int left) {
  assert(matcher_ && left >= 1);
  mask_ = nullptr;
  forced_.clear();
  if (!matcher_->accept(token)) {
    fail(Code::kInternalError, "A token of the mask was not accepted.");
    return {};
  }
  if (options_.complete_within && !completes_within(left - 1)) {
    matcher_->rollback(1);
    return complete(left);
  }
  force(left - 1);
  const int still_left = left - 1 - static_cast<int>(forced_.size());
  const bool cut = options_.complete_within && still_left == 0 && matcher_->accepting();
  return {.sampled = true, .forced = forced_, .finished = matcher_->finished() || cut};
}

// Whether the token may be taken would have to be known now.
void GuidedSequence::advance_later(TokenId token, int left) {
  mask_ = nullptr;
  forced_.clear();
  taken_ = {token, left};
  if (options_.complete_within) fail(Code::kSchemaTooComplex, kOutOfFuel);
}

// Whether the answer can be ended with `left` more tokens; completion_ then says how.
bool GuidedSequence::completes_within(int left) {
  std::vector<TokenId> completion = matcher_->shortest_completion();
  if (std::ssize(completion) > left) return false;
  completion_ = std::move(completion);
  return true;
}

// Goes the way to the end that is known to fit.
GuidedSequence::Advance GuidedSequence::complete([[maybe_unused]] int left) {
  assert(std::ssize(completion_) <= left);
  const bool all_taken =
      std::ranges::all_of(completion_, [this](TokenId token) { return matcher_->accept(token); });
  if (!all_taken || !matcher_->accepting()) {  // no way was found within the budget
    fail(Code::kSchemaTooComplex, kOutOfFuel);
    return {};
  }
  forced_ = completion_;
  return {.sampled = false, .forced = forced_, .finished = true};
}

// Takes the tokens that must follow, at most `left`.
void GuidedSequence::force(int left) {
  if (!options_.may_force || left <= 0) return;
  forced_ = matcher_->forced_tokens();
  const std::size_t most = std::min(kMaxForced, static_cast<std::size_t>(left));
  if (forced_.size() > most) forced_.resize(most);
  int taken = 0;
  for (const TokenId token : forced_) {
    if (!matcher_->accept(token)) break;
    ++taken;
  }
  forced_.resize(static_cast<std::size_t>(taken));
  if (taken == 0 || !options_.complete_within || completes_within(left - taken)) return;
  matcher_->rollback(taken);
  forced_.clear();
}

void GuidedSequence::fail(Code code, std::string message) {
  error_ = Error{code, std::move(message)};
}

}  // namespace tessera
