// kernels_portable.cpp — the kernels for any machine (kernels/CMakeLists.txt has the options).
#include "kernels/cpu/make_kernel_table.hpp"
#include "kernels/cpu/vec_portable.hpp"

namespace tessera {

const KernelTable kPortableKernels = kKernelTableOf<VecPortable>;

}  // namespace tessera
