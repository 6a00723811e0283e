// path_case.hpp — the CPU paths as tests take them, each with how close it comes to the reference.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_path.hpp"

namespace tessera {

struct PathCase {
  const char* name;
  CpuPath path;
  // Largest error of a logit, as a fraction of the row's largest logit. It comes from the fp16 KV
  // cache and, a little, from the integers that VNNI multiplies.
  double tolerance;
  std::uint32_t num_seeds;  // the portable path is slow
  std::uint32_t num_mixes;  // likewise
};
inline constexpr PathCase kPaths[] = {
    {"portable", CpuPath::kPortable, 1e-3, 3, 40},
    {"avx2", CpuPath::kAvx2, 1e-3, 12, 300},
    {"avx512", CpuPath::kAvx512, 1e-3, 12, 300},
    {"avx512vnni", CpuPath::kAvx512Vnni, 1e-3, 12, 300},
    {"amx", CpuPath::kAmx, 1e-3, 12, 300},
};
inline constexpr int kNumFp32Paths = 3;  // the first of them

// The same of a model without norms of what attention reads, whose values and gates are as large as
// the embedding makes them.
inline constexpr double kToleranceWithoutPreNorms = 3e-3;

inline void PrintTo(const PathCase& path, std::ostream* out) {
  *out << path.name;
}

inline std::string path_case_name(const testing::TestParamInfo<PathCase>& test) {
  return test.param.name;
}

}  // namespace tessera
