#include "kernels/cpu/amx_support.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cstdint>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tessera {

#if defined(__x86_64__) && defined(__linux__)
namespace {

bool processor_has_amx_int8() {
  constexpr unsigned kAmxTile = 1U << 24;  // CPUID leaf 7, EDX
  constexpr unsigned kAmxInt8 = 1U << 25;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & kAmxTile) != 0 && (edx & kAmxInt8) != 0;
}

// Palette 1 is the one whose eight tiles are 16 rows of 64 bytes.
bool processor_has_tiles_of_a_kibibyte() {
  constexpr unsigned kPalettes = 0x1D;   // CPUID leaf; the subleaf is the palette
  constexpr unsigned kTileBytes = 1024;  // EAX, upper half
  constexpr unsigned kRowBytes = 64;     // EBX, lower half; the upper: tiles
  constexpr unsigned kRows = 16;         // ECX, lower half
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(kPalettes, 1, &eax, &ebx, &ecx, &edx) == 0) return false;
  return eax >> 16 >= kTileBytes && (ebx & 0xFFFFU) >= kRowBytes && ebx >> 16 >= 8 &&
         (ecx & 0xFFFFU) >= kRows;
}

bool kernel_keeps_tiles() {
  constexpr unsigned kOsxsave = 1U << 27;         // CPUID leaf 1, ECX
  constexpr std::uint32_t kTileState = 3U << 17;  // XCR0: TILECFG, TILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsxsave) == 0) return false;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileState) == kTileState;
}

bool kernel_permits_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool may_use_amx() {
  static const bool answer = processor_has_amx_int8() && processor_has_tiles_of_a_kibibyte() &&
                             kernel_keeps_tiles() && kernel_permits_tiles();
  return answer;
}

#else

bool may_use_amx() {
  return false;
}

#endif

}  // namespace tessera
