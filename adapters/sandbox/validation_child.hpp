// validation_child.hpp — the whole life of the process that validates one package.
//
// It reads its job from the command line and opens the base model; then it confines itself, and
// only then looks at the package. Its one answer is the verdict on the pipe.
#pragma once

#include <functional>
#include <string_view>

#include "adapters/sandbox/validation_wire.hpp"
#include "storage/result.hpp"

namespace tessera {

// The first argument by which main() knows that it is such a process.
inline constexpr std::string_view kValidationChildArgument = "--validation-child";

// What the child knows of the base. Made before it is confined, from the model's file; the
// tokenizer behind PackageContext::tokenizer should be made when it is first asked for. Everything
// that the context refers to lives until the process ends.
using OpenContext = std::function<Result<PackageContext>(const ValidationJob& job)>;

// Returns the exit status: 0 if a verdict was written.
int run_validation_child(std::string_view job, const OpenContext& open_context);

}  // namespace tessera
