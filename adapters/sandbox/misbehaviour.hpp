// misbehaviour.hpp — for tests: a validating child that does what a stranger's bytes made it do.
#pragma once

#include "adapters/sandbox/validation_wire.hpp"

namespace tessera {

// In the child, once it is confined. `descriptor` is a file that it may map. Returns if nothing
// stopped it.
void misbehave(Misbehaviour kind, int descriptor);

}  // namespace tessera
