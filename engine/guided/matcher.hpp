// matcher.hpp — one sequence under a constraint: which tokens may come next.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/guided/constraint.hpp"
#include "engine/guided/token_mask.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

// Not thread-safe; owned by its sequence, used by one thread at a time (a worker fills the mask
// while the device runs, then the engine thread reads it).
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<Constraint> constraint);
  ~Matcher();
  Matcher(Matcher&&) noexcept;
  Matcher& operator=(Matcher&&) noexcept;

  // The tokens that may come next, end tokens among them where the text may end. Shared, immutable,
  // valid as long as it is held. nullptr if the constraint's budget ran out: the request has
  // failed.
  std::shared_ptr<const TokenMask> mask();
  // The same with a budget of its own, in fuel: nullptr if that was not enough, and then mask() may
  // still be asked. The engine tries this first and gives what is left to a slow thread.
  std::shared_ptr<const TokenMask> mask(std::uint64_t fuel);
  // The mask if it is there already, made for an equal state before. Never waits: nullptr too while
  // another thread is at work on the constraint.
  std::shared_ptr<const TokenMask> ready_mask();
  // Goes on by `token`; false, and nothing has changed, if it is not allowed. Far cheaper than
  // mask().
  bool accept(TokenId token);
  void rollback(int num_tokens);  // at most GuidedLimits::max_rollback, of those accepted
  bool accepting() const;         // the text may end here
  bool finished() const;          // only an end token may follow
  // Tokens that must follow whatever the model says: the canonical tokens of the forced bytes,
  // without those at the end that a longer token could still bridge. Not yet accepted. Often empty.
  std::vector<TokenId> forced_tokens();
  // Tokens of a shortest way to end from here, without the end token.
  std::vector<TokenId> shortest_completion();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::guided
