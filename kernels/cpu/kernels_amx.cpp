// kernels_amx.cpp — the multiplications for AMX (Sapphire Rapids and later).
#include "kernels/cpu/amx_digits.hpp"
#include "kernels/cpu/amx_kernels.hpp"

namespace tessera {
namespace {

template <class Codes, std::size_t kGroups>
constexpr KernelTable::GroupMultiply kMultiplyOf = {
    &amx::multiply<amx::GroupDigits<Codes, kGroups, false>>,
    &amx::multiply<amx::GroupDigits<Codes, kGroups, true>>};

template <class Codes>
constexpr KernelTable::CodesMultiply kMultiplyCodes = {kMultiplyOf<Codes, 1>, kMultiplyOf<Codes, 2>,
                                                       kMultiplyOf<Codes, 4>};

}  // namespace

const AmxKernels kAmxKernels = {
    .multiply_nf4 = kMultiplyCodes<amx::BookDigits>.groups[0].plain,
    .multiply_int8 = kMultiplyCodes<amx::IntegerDigits>.groups[0].plain,
    .multiply_book16 = kMultiplyCodes<amx::BookDigits>,
    .multiply_integers = kMultiplyCodes<amx::IntegerDigits>,
    .split = &amx::split,
};

}  // namespace tessera
