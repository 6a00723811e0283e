// cpu_path.hpp — which instruction set to compute with, asked of the machine at run time.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/cpu/kernel_table.hpp"

namespace tessera {

enum class CpuPath : std::uint8_t { kPortable, kAvx2, kAvx512, kAvx512Vnni, kAmx };

bool machine_has(CpuPath path);

// `force` is "amx", "avx512vnni", "avx512", "avx2", "portable", or empty for what TESSERA_CPU says,
// or the best one. Throws std::invalid_argument for another word or a path that the machine does
// not have.
CpuPath choose_cpu_path(std::string_view force);

const KernelTable& kernels_of(CpuPath path);  // the machine has it

}  // namespace tessera
