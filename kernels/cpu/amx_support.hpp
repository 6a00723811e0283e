// amx_support.hpp — whether this process may use the tile unit of AMX.
//
// Tiles are 8 KiB of state a thread, so Linux gives them only to who asks (arch_prctl(2),
// ARCH_REQ_XCOMP_PERM): without the permission the first tile instruction ends the process. It is
// granted to the whole process, once and for good, and refused if a thread's alternate signal stack
// is too small for the state or a system call filter says so.
#pragma once

namespace tessera {

// The processor has AMX-TILE and AMX-INT8, the kernel keeps their state, and this process has the
// permission, for which the first call asks. Thread-safe; the answer does not change. A refusal is
// not an error: another path is chosen.
bool may_use_amx();

}  // namespace tessera
