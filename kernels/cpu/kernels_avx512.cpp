// kernels_avx512.cpp — the kernels for AVX-512 (kernels/CMakeLists.txt has the options).
#include "kernels/cpu/make_kernel_table.hpp"
#include "kernels/cpu/vec_avx512.hpp"

namespace tessera {

const KernelTable kAvx512Kernels = kKernelTableOf<VecAvx512>;

}  // namespace tessera
