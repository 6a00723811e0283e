// compiled_constraint.hpp — class Constraint, which constraint.hpp only names.
//
// A spec, and the epoch that new matchers begin with. A full epoch is followed by a fresh one, so
// what a constraint keeps is bounded however long it is in use; matchers of the old one move over
// when they need something that is not in its tables.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <variant>

#include "engine/guided/constraint.hpp"
#include "engine/guided/constraint_epoch.hpp"

namespace tessera::guided {

// Makes a spec's recognizer. FuelExhausted does not come through.
std::variant<std::unique_ptr<CompiledRecognizer>, CompileError> compile_recognizer(
    const ConstraintSpec& spec, const Vocabulary& vocabulary, const GuidedLimits& limits);

// Thread-safe.
class Constraint {
 public:
  Constraint(ConstraintSpec spec, std::shared_ptr<const Vocabulary> vocabulary,
             const GuidedLimits& limits, std::unique_ptr<CompiledRecognizer> compiled);

  const Vocabulary& vocabulary() const { return *vocabulary_; }
  const GuidedLimits& limits() const { return limits_; }
  // The epoch to begin with: a fresh one if the last is full. nullptr if compiling again failed.
  std::shared_ptr<ConstraintEpoch> epoch();
  bool is_full(const ConstraintEpoch& epoch) const {
    return epoch.bytes() > limits_.max_constraint_bytes;
  }
  std::size_t bytes() const;  // of the latest epoch
  int num_epochs() const { return num_epochs_.load(std::memory_order_relaxed); }

 private:
  const ConstraintSpec spec_;
  const std::shared_ptr<const Vocabulary> vocabulary_;
  const GuidedLimits limits_;

  mutable std::mutex mutex_;
  std::shared_ptr<ConstraintEpoch> epoch_;
  std::atomic<int> num_epochs_{1};
};

}  // namespace tessera::guided
