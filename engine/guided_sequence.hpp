// guided_sequence.hpp — a sequence's constraint in the life of the engine's steps.
//
// While the device computes a step, a worker finds out which tokens may come next (fill). When the
// logits are there, the engine thread samples under that mask and goes on (advance): over the token
// itself, over those that must follow it whatever the model would say, which are appended without
// being sampled, and to the end if nothing more may follow.
//
// With `complete_within` every token is weighed before it is taken: the sequence always knows a
// shortest way to its end that fits into what is left of max_tokens, and where the sampled token
// would leave none, it takes that way instead. So the answer is complete, or was refused at once.
//
// What comes out is a function of the constraint and of the tokens before, never of who computed
// the mask and when (promise P2).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/guided/matcher.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Shared by the engine thread and, between MaskWorkers' start and done(), one worker: nobody else
// touches it then but for done() and the constraint's address.
class GuidedSequence {
 public:
  struct Options {
    int max_tokens = 0;
    bool complete_within = false;
    bool may_force = true;  // tokens may be appended that were not sampled
  };

  GuidedSequence(std::shared_ptr<guided::Constraint> constraint, const Options& options)
      : constraint_(std::move(constraint)), options_(options) {}

  const guided::Constraint* constraint() const { return constraint_.get(); }

  // ---- a worker's part

  // Makes what the next step needs: at the very first the matcher and the tokens that open the
  // answer, later the mask. With at most `fuel` for the mask; false if that was not enough.
  bool fill(std::uint64_t fuel);
  // The same without a bound but the constraint's own; what goes wrong is in error().
  void fill();
  void fail(Code code, std::string message);

  // ---- the engine thread's part; not while a worker is at it

  // The mask if it is to be had at once; never waits.
  bool fill_at_once();
  bool begun() const { return matcher_.has_value(); }
  bool filled() const { return mask_ != nullptr || opening_ || error_; }
  const guided::TokenMask* mask() const { return mask_.get(); }

  // Why the sequence cannot go on.
  const std::optional<Error>& error() const { return error_; }

  // What was appended, in order, and whether the answer ends behind it.
  struct Advance {
    bool sampled = false;  // the token that was sampled; false: it was not taken
    std::span<const TokenId> forced = {};
    bool finished = false;
  };

  // The tokens that must come next, once: at the beginning, and after advance_later(). nullopt if
  // there are none, or they have been taken.
  std::optional<Advance> take_opening();

  // Goes on by `token`, which is in the mask; `left` is how many tokens there may be, this one
  // counted. What it returns lives until the next call. On an error there is error().
  Advance advance(TokenId token, int left);

  // The same by the worker that fills next, for a sequence that is slow: the token counts as taken,
  // and what follows it is to be had from take_opening().
  void advance_later(TokenId token, int left);

  // A mask was too much for the first budget. Whatever is done with the matcher from then on is the
  // slow lane's. Set by MaskWorkers.
  bool slow = false;

  // Set by the worker that was at it.
  bool done() const { return !pending_.load(std::memory_order_acquire); }

 private:
  friend class MaskWorkers;

  struct Taken {
    TokenId token;
    int left;
  };

  void catch_up();
  void begin();
  void force(int left);
  bool completes_within(int left);
  Advance complete(int left);

  const std::shared_ptr<guided::Constraint> constraint_;
  const Options options_;
  std::optional<guided::Matcher> matcher_;
  std::shared_ptr<const guided::TokenMask> mask_;
  std::optional<Taken> taken_;  // that the matcher has not seen yet
  std::vector<TokenId> forced_;
  std::vector<TokenId> completion_;  // with complete_within: from where the sequence is
  bool opening_ = false;             // forced_ is what comes next
  bool finished_ = false;
  std::optional<Error> error_;
  std::atomic<bool> pending_ = false;
};

}  // namespace tessera
