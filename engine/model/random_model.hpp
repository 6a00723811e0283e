// random_model.hpp — a packed model of any shape with weights that mean nothing.
//
// For tests and benches that need a shape and not a model.
#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/model/packed_model.hpp"

namespace tessera {

// Writes a packed file of `spec`; the weights are a function of `seed` alone, of about the size
// that a freshly initialised model has, so that activations neither vanish nor blow up. `info` is
// written as given. Errors: kUnsupportedModel if the spec is not one we can run; kIo, kStorageFull.
Result<BaseDigest> write_random_model(const ModelSpec& spec, std::uint64_t seed,
                                      const std::filesystem::path& destination,
                                      const ModelInfo& info = {});

}  // namespace tessera
