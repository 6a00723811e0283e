#include "engine/guided/compiled_constraint.hpp"

#include <utility>

namespace tessera::guided {

Constraint::Constraint(ConstraintSpec spec, std::shared_ptr<const Vocabulary> vocabulary,
                       const GuidedLimits& limits, std::unique_ptr<CompiledRecognizer> compiled)
    : spec_(std::move(spec)),
      vocabulary_(std::move(vocabulary)),
      limits_(limits),
      epoch_(std::make_shared<ConstraintEpoch>(std::move(compiled), vocabulary_, limits_)) {}

std::shared_ptr<ConstraintEpoch> Constraint::epoch() {
  const std::lock_guard lock(mutex_);
  if (!is_full(*epoch_)) return epoch_;
  auto compiled = compile_recognizer(spec_, *vocabulary_, limits_);
  auto* made = std::get_if<std::unique_ptr<CompiledRecognizer>>(&compiled);
  if (!made) return nullptr;
  epoch_ = std::make_shared<ConstraintEpoch>(std::move(*made), vocabulary_, limits_);
  ++num_epochs_;
  return epoch_;
}

std::size_t Constraint::bytes() const {
  const std::lock_guard lock(mutex_);
  return epoch_->bytes();
}

}  // namespace tessera::guided
