// kernels_avx2.cpp — the kernels for AVX2, FMA and F16C (kernels/CMakeLists.txt has the options).
#include "kernels/cpu/make_kernel_table.hpp"
#include "kernels/cpu/vec_avx2.hpp"

namespace tessera {

const KernelTable kAvx2Kernels = kKernelTableOf<VecAvx2>;

}  // namespace tessera
