// background.hpp — threads whose work can wait.
#pragma once

namespace tessera {

// The calling thread goes behind those that serve somebody, where both want one processor: a tenth
// of it is left to this one, in slices that nobody waits long for (Linux 6.12 and later; before, a
// slice is some 3 ms). It still gets on beside threads that never rest, so locks that it shares
// with them come free.
void step_back();

}  // namespace tessera
