#include "engine/guided/compiled_constraint.hpp"

#include <utility>

#include "storage/disposal.hpp"

namespace tessera::guided {
namespace {

// Millions of small pieces: freeing them takes some 10 ms.
constexpr std::size_t kLongToFree = std::size_t{1} << 20;

struct FreeEpoch {
  void operator()(const ConstraintEpoch* epoch) const {
    if (epoch->bytes() < kLongToFree) {
      delete epoch;
    } else {
      dispose_later(std::shared_ptr<const void>(epoch));
    }
  }
};

std::shared_ptr<ConstraintEpoch> make_epoch(std::unique_ptr<CompiledRecognizer> compiled,
                                            std::shared_ptr<const Vocabulary> vocabulary,
                                            const GuidedLimits& limits) {
  auto epoch =
      std::make_unique<ConstraintEpoch>(std::move(compiled), std::move(vocabulary), limits);
  return {epoch.release(), FreeEpoch{}};
}

}  // namespace

Constraint::Constraint(ConstraintSpec spec, std::shared_ptr<const Vocabulary> vocabulary,
                       const GuidedLimits& limits, std::unique_ptr<CompiledRecognizer> compiled)
    : spec_(std::move(spec)),
      vocabulary_(std::move(vocabulary)),
      limits_(limits),
      epoch_(make_epoch(std::move(compiled), vocabulary_, limits_)) {}

std::shared_ptr<ConstraintEpoch> Constraint::epoch() {
  const std::lock_guard lock(mutex_);
  if (!is_full(*epoch_)) return epoch_;
  auto compiled = compile_recognizer(spec_, *vocabulary_, limits_);
  auto* made = std::get_if<std::unique_ptr<CompiledRecognizer>>(&compiled);
  if (!made) return nullptr;
  epoch_ = make_epoch(std::move(*made), vocabulary_, limits_);
  ++num_epochs_;
  return epoch_;
}

std::size_t Constraint::bytes() const {
  const std::lock_guard lock(mutex_);
  return epoch_->bytes();
}

}  // namespace tessera::guided
