#include "kernels/cpu/cpu_path.hpp"

#include <array>
#include <cassert>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels/cpu/amx_support.hpp"

namespace tessera {
namespace {

struct NamedPath {
  std::string_view name;
  CpuPath path;
};
constexpr std::array<NamedPath, 5> kBestFirst = {{{"amx", CpuPath::kAmx},
                                                  {"avx512vnni", CpuPath::kAvx512Vnni},
                                                  {"avx512", CpuPath::kAvx512},
                                                  {"avx2", CpuPath::kAvx2},
                                                  {"portable", CpuPath::kPortable}}};

#if defined(__x86_64__)
KernelTable make_avx512vnni_kernels() {
  KernelTable table = kAvx512Kernels;
  table.name = "cpu-avx512vnni";
  table.multiply_nf4 = kAvx512VnniInt16.multiply_nf4;
  table.multiply_int8 = kAvx512VnniInt16.multiply_int8;
  table.multiply_book16 = kAvx512VnniInt16.multiply_book16;
  table.multiply_integers = kAvx512VnniInt16.multiply_integers;
  table.quantise = kAvx512VnniInt16.quantise;
  table.sum_groups = kAvx512VnniInt16.sum_groups;
  return table;
}

KernelTable make_amx_kernels() {
  KernelTable table = make_avx512vnni_kernels();
  table.name = "cpu-amx";
  table.multiply_nf4 = kAmxKernels.multiply_nf4;
  table.multiply_int8 = kAmxKernels.multiply_int8;
  table.multiply_book16 = kAmxKernels.multiply_book16;
  table.multiply_integers = kAmxKernels.multiply_integers;
  table.split = kAmxKernels.split;
  return table;
}
#endif

std::string_view path_from_environment() {
  const char* value = std::getenv("TESSERA_CPU");
  return value == nullptr ? std::string_view{} : value;
}

}  // namespace

bool machine_has(CpuPath path) {
#if defined(__x86_64__)
  switch (path) {
    case CpuPath::kPortable:
      return true;
    case CpuPath::kAvx2:
      // F16C is older than AVX2 and in every machine that has it; clang 14 cannot ask for it.
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CpuPath::kAvx512:
      return machine_has(CpuPath::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case CpuPath::kAvx512Vnni:
      return machine_has(CpuPath::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case CpuPath::kAmx:
      return machine_has(CpuPath::kAvx512Vnni) && __builtin_cpu_supports("avx512vbmi") &&
             may_use_amx();
  }
#endif
  return path == CpuPath::kPortable;
}

CpuPath choose_cpu_path(std::string_view force) {
  if (force.empty()) force = path_from_environment();
  for (const auto& [name, path] : kBestFirst) {
    if (force.empty() ? machine_has(path) : name == force && machine_has(path)) return path;
  }
  throw std::invalid_argument("this machine has no CPU path \"" + std::string(force) +
                              "\"; there are amx, avx512vnni, avx512, avx2 and portable");
}

const KernelTable& kernels_of(CpuPath path) {
  assert(machine_has(path));
#if defined(__x86_64__)
  static const KernelTable kAvx512VnniKernels = make_avx512vnni_kernels();
  static const KernelTable kAmxTable = make_amx_kernels();
  if (path == CpuPath::kAmx) return kAmxTable;
  if (path == CpuPath::kAvx512Vnni) return kAvx512VnniKernels;
  if (path == CpuPath::kAvx512) return kAvx512Kernels;
  if (path == CpuPath::kAvx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace tessera
