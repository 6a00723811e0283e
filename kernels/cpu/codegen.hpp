// codegen.hpp — two requests to the compiler, without which arrays of registers end up in memory.
#pragma once

// Unroll the next loop completely, so that what it indexes can be a register.
#ifdef __clang__
#define TESSERA_UNROLL _Pragma("unroll")
#else
#define TESSERA_UNROLL _Pragma("GCC unroll 16")
#endif

// Before a function that takes such an array by reference.
#define TESSERA_ALWAYS_INLINE __attribute__((always_inline)) inline
