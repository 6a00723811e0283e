// serve_command.hpp — `tessera serve` with another backend than the command line's.
#pragma once

#include <span>
#include <string>

#include "gateway/platform.hpp"

namespace tessera {

// As serve_command(), but what computes is what `make` makes: a measurement's, that answers at
// once.
int serve_with(const BackendMaker& make, std::span<const std::string> arguments);

}  // namespace tessera
