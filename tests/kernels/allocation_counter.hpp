// allocation_counter.hpp — counts what this program takes from the heap, on all threads.
#pragma once

#include <cstdint>

namespace tessera {

// Calls of operator new so far.
std::int64_t num_allocations();

}  // namespace tessera
