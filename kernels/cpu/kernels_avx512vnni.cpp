// kernels_avx512vnni.cpp — the multiplications for AVX-512 with VNNI (Ice Lake, Zen 4 and later).
#include "kernels/cpu/int16_kernels.hpp"

namespace tessera {

const Int16Kernels kAvx512VnniInt16 = {
    .multiply_nf4 = &int16::multiply<int16::Nf4Pairs>,
    .multiply_int8 = &int16::multiply<int16::Int8Pairs>,
    .quantise = &int16::quantise,
};

}  // namespace tessera
