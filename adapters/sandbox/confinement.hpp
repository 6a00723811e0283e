// confinement.hpp — how a process gives up everything but arithmetic on what it has open.
//
// What is left after confine() is memory, the descriptors that are open, and the end:
//
//   system calls  an allow-list (seccomp); anything else kills the process. No open, no socket, no
//                 exec, no fork, no signals to others, no executable memory
//   privileges    none to be gained (PR_SET_NO_NEW_PRIVS); a root becomes nobody where it may
//   resources     processor time, address space, file size, files, processes (rlimits)
//   watching      no core dump and no debugger but root's (PR_SET_DUMPABLE)
//   priority      the lowest: validation never competes with serving
//
// Linux only; libseccomp writes the filter.
#pragma once

#include <cstdint>

#include "storage/result.hpp"

namespace tessera {

struct ConfinementLimits {
  std::uint64_t cpu_seconds = 120;
  std::uint64_t address_space_bytes = std::uint64_t{8} << 30;  // mappings of files, too
  std::uint64_t file_bytes = std::uint64_t{2} << 30;           // of any file it writes
};

// For the calling process, for ever; it must have one thread. Errors: kIo, saying which step the
// system refused; what came before it stays in force.
Result<void> confine(const ConfinementLimits& limits);

}  // namespace tessera
