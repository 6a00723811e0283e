// background.hpp — threads whose work can wait.
#pragma once

namespace tessera {

enum class Behind : unsigned char {
  kTenth,    // of a processor that another thread wants as well is left to this one
  kNothing,  // a seventieth: for what may take as long as it likes
};

// The calling thread goes behind those that serve somebody, in slices that nobody waits long for
// (Linux 6.12 and later; before, a slice is some 3 ms). It still gets on beside threads that never
// rest, so locks that it shares with them come free.
void step_back(Behind how = Behind::kTenth);

// The calling thread, once woken, waits until its processor's thread has had its turn instead of
// taking its place: where all share a processor, whoever brings work goes on and brings all it has,
// and each pays for one change of threads instead of two. Its share is what it was.
void let_wakers_go_on();

}  // namespace tessera
