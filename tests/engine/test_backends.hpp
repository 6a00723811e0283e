// test_backends.hpp — every backend of this machine, by name, for parametrised tests.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "kernels/backend.hpp"
#include "kernels/weights.hpp"

namespace tessera {

inline constexpr const char* kTestBackends[] = {"reference", "portable",   "avx2",
                                                "avx512",    "avx512vnni", "amx"};

// Null if this machine cannot run it.
inline std::unique_ptr<Backend> make_test_backend(const std::string& name,
                                                  const ModelWeights& weights,
                                                  const BackendLimits& limits) {
  if (name == "reference") return make_reference_backend(weights, limits);
  try {
    return make_cpu_backend(weights, limits, name);
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

}  // namespace tessera
