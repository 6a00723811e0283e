// malloc_choices.hpp — how the server has glibc manage its memory.
//
// Each request is some three hundred small allocations, many of which another thread frees. What a
// thread keeps of freed pieces is found without a lock and without a search; by default those are
// seven of a size, and sixty requests at a time then spend a sixth of their processor time in
// malloc. glibc takes such choices from the environment of a new image alone.
#pragma once

namespace tessera {

// Starts this program anew with the choices, in the same process and with the same arguments,
// unless the environment has some already: before anything is opened, and before other threads.
// Where that cannot be done, the server goes on as it is.
void choose_malloc();

// Bounds what is kept of memory that was freed. Left to itself, glibc raises both bounds to as much
// as the largest thing that was ever freed, tens of megabytes after one large schema, and every
// arena keeps that much of what is freed later.
void return_freed_memory();

}  // namespace tessera
