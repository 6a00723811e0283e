// kernels_avx512vnni.cpp — the multiplications for AVX-512 with VNNI (Ice Lake, Zen 4 and later).
#include "kernels/cpu/int16_kernels.hpp"

namespace tessera {
namespace {

template <class Pairs, std::size_t kGroups>
constexpr KernelTable::GroupMultiply kMultiplyOf = {
    &int16::multiply<int16::GroupPairs<Pairs, kGroups, false>>,
    &int16::multiply<int16::GroupPairs<Pairs, kGroups, true>>};

template <class Pairs>
constexpr KernelTable::CodesMultiply kMultiplyCodes = {kMultiplyOf<Pairs, 1>, kMultiplyOf<Pairs, 2>,
                                                       kMultiplyOf<Pairs, 4>};

}  // namespace

const Int16Kernels kAvx512VnniInt16 = {
    .multiply_nf4 = kMultiplyCodes<int16::BookPairs>.groups[0].plain,
    .multiply_int8 = kMultiplyCodes<int16::IntegerPairs>.groups[0].plain,
    .multiply_book16 = kMultiplyCodes<int16::BookPairs>,
    .multiply_integers = kMultiplyCodes<int16::IntegerPairs>,
    .quantise = &int16::quantise,
    .sum_groups = &int16::sum_groups,
};

}  // namespace tessera
