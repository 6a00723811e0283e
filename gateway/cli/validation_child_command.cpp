// The hidden command by which the server runs itself to validate a package (adapters/sandbox).
#include <memory>
#include <optional>

#include "adapters/sandbox/validation_child.hpp"
#include "engine/model/packed_model.hpp"
#include "gateway/adapters/package_context.hpp"
#include "gateway/cli/commands.hpp"

namespace tessera {
namespace {

// What the context refers to.
struct OpenedModel {
  std::unique_ptr<PackedModel> packed = {};
  BaseModel base = {};
};

// The model behind the descriptor that was handed over, whatever its path names by now.
Result<PackageContext> open_context(const ValidationJob& job, OpenedModel& opened) {
  auto packed = PackedModel::open("/proc/self/fd/" + std::to_string(job.model));
  if (!packed) return packed.error();
  opened.packed = *std::move(packed);
  const PackedModel& model = *opened.packed;
  if (to_hex(model.digest()) != job.base_digest) {
    return Error{Code::kCorrupt, "The model's file is not the model that is served."};
  }
  opened.base = {.name = model.info().name,
                 .aliases = job.base_aliases,
                 .digest = model.digest(),
                 .spec = model.spec(),
                 .weights = &model.weights()};
  return package_context(model, opened.base, job.page_type);
}

}  // namespace

int validation_child_command(std::span<const std::string> arguments) {
  if (arguments.size() != 1) return kExitUsage;
  OpenedModel opened;
  return run_validation_child(
      arguments.front(), [&opened](const ValidationJob& job) { return open_context(job, opened); });
}

}  // namespace tessera
