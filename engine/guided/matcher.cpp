#include "engine/guided/matcher.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/guided/compiled_constraint.hpp"
#include "engine/guided/forced_text.hpp"

namespace tessera::guided {

struct Matcher::Impl {
  explicit Impl(std::shared_ptr<Constraint> given)
      : constraint(std::move(given)), epoch(constraint->epoch()) {
    begin();
  }

  // The state after what has been accepted; nullptr: the constraint has failed.
  const TokenState* state() const { return failed || states.empty() ? nullptr : states.back(); }
  void begin();
  bool move_over();
  const TokenState* next(TokenId token);
  std::shared_ptr<const TokenMask> only_end_tokens() const;

  std::shared_ptr<Constraint> constraint;
  std::shared_ptr<ConstraintEpoch> epoch;
  std::vector<const TokenState*> states;  // [i]: after i tokens
  std::vector<TokenId> tokens;            // accepted, but for the end token
  int num_ends = 0;                       // end tokens accepted
  bool failed = false;                    // beyond the constraint's memory
};

void Matcher::Impl::begin() {
  states.clear();
  if (epoch && epoch->start()) states.push_back(epoch->start());
}

// Goes to the constraint's latest epoch, by way of all tokens accepted. False, and nothing has
// changed, if that did not work out.
bool Matcher::Impl::move_over() {
  std::shared_ptr<ConstraintEpoch> fresh = constraint->epoch();
  if (!fresh || fresh == epoch || !fresh->start()) return false;
  std::vector<const TokenState*> path = {fresh->start()};
  for (const TokenId token : tokens) {
    const TokenState* next = fresh->step(*path.back(), token);
    if (!next) return false;
    path.push_back(next);
  }
  if (constraint->is_full(*fresh)) {  // this sequence alone is too much for one
    failed = true;
    return false;
  }
  epoch = std::move(fresh);
  states = std::move(path);
  return true;
}

const TokenState* Matcher::Impl::next(TokenId token) {
  if (!state() || num_ends > 0) return nullptr;
  if (constraint->is_full(*epoch) && !move_over() && failed) return nullptr;
  return epoch->step(*state(), token);
}

std::shared_ptr<const TokenMask> Matcher::Impl::only_end_tokens() const {
  auto mask = std::make_shared<TokenMask>(constraint->vocabulary().vocab_size());
  for (const TokenId id : constraint->vocabulary().end_tokens()) mask->set(id);
  return mask;
}

Matcher::Matcher(std::shared_ptr<Constraint> constraint)
    : impl_(std::make_unique<Impl>(std::move(constraint))) {}
Matcher::~Matcher() = default;
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher& Matcher::operator=(Matcher&&) noexcept = default;

std::shared_ptr<const TokenMask> Matcher::mask() {
  return mask(impl_->constraint->limits().mask_fuel);
}

std::shared_ptr<const TokenMask> Matcher::mask(std::uint64_t fuel) {
  if (!impl_->state()) return nullptr;
  if (impl_->num_ends > 0) return impl_->only_end_tokens();
  if (!impl_->state()->mask && impl_->constraint->is_full(*impl_->epoch)) {
    impl_->move_over();
    if (impl_->failed) return nullptr;
  }
  const MaskStore::Mask* mask = impl_->epoch->mask(*impl_->state(), fuel);
  return mask ? *mask : nullptr;
}

std::shared_ptr<const TokenMask> Matcher::ready_mask() {
  if (!impl_->state() || impl_->num_ends > 0) return nullptr;
  const MaskStore::Mask* mask = impl_->epoch->ready_mask(*impl_->state());
  return mask ? *mask : nullptr;
}

bool Matcher::accept(TokenId token) {
  if (!impl_->state()) return false;
  const bool may_end = impl_->num_ends > 0 || impl_->state()->accepting;
  if (may_end && impl_->constraint->vocabulary().is_end(token)) {
    ++impl_->num_ends;
    return true;
  }
  const TokenState* next = impl_->next(token);
  if (!next) return false;
  impl_->states.push_back(next);
  impl_->tokens.push_back(token);
  return true;
}

void Matcher::rollback(int num_tokens) {
  assert(num_tokens >= 0);
  const int ends = std::min(num_tokens, impl_->num_ends);
  impl_->num_ends -= ends;
  const auto rest = static_cast<std::size_t>(num_tokens - ends);
  assert(rest <= impl_->tokens.size());
  impl_->tokens.resize(impl_->tokens.size() - rest);
  impl_->states.resize(impl_->states.size() - rest);
}

bool Matcher::accepting() const {
  return impl_->num_ends > 0 || (impl_->state() && impl_->state()->accepting);
}

bool Matcher::finished() const {
  return impl_->num_ends > 0 || (impl_->state() && impl_->state()->finished);
}

std::vector<TokenId> Matcher::forced_tokens() {
  if (!impl_->state() || impl_->num_ends > 0) return {};
  return guided::forced_tokens(*impl_->epoch, *impl_->state(), impl_->tokens,
                               impl_->constraint->vocabulary());
}

std::vector<TokenId> Matcher::shortest_completion() {
  if (!impl_->state() || impl_->num_ends > 0) return {};
  const std::string rest = impl_->epoch->shortest_rest(*impl_->state());
  return tokens_of(rest, impl_->constraint->vocabulary());
}

}  // namespace tessera::guided
