// make_kernel_table.hpp — the table of one vec: all kernels are instantiated here.
#pragma once

#include "kernels/cpu/attention_kernels.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/linear_kernels.hpp"
#include "kernels/cpu/lora_int8_kernels.hpp"
#include "kernels/cpu/lora_kernels.hpp"
#include "kernels/cpu/row_kernels.hpp"

namespace tessera {

template <class V, class Codes, std::size_t kGroups>
inline constexpr KernelTable::GroupMultiply kGroupMultiplyOf = {
    &multiply<V, GroupDecoder<V, Codes, kGroups, false>>,
    &multiply<V, GroupDecoder<V, Codes, kGroups, true>>};

template <class V, class Codes>
inline constexpr KernelTable::CodesMultiply kCodesMultiplyOf = {
    kGroupMultiplyOf<V, Codes, 1>, kGroupMultiplyOf<V, Codes, 2>, kGroupMultiplyOf<V, Codes, 4>};

template <class V>
inline constexpr KernelTable kKernelTableOf = {
    .name = V::kName,
    .multiply_nf4 = kGroupMultiplyOf<V, BookCodes<V>, 1>.plain,
    .multiply_int8 = kGroupMultiplyOf<V, IntegerCodes<V>, 1>.plain,
    .multiply_bf16 = &multiply<V, Bf16Decoder<V>>,
    .multiply_book16 = kCodesMultiplyOf<V, BookCodes<V>>,
    .multiply_integers = kCodesMultiplyOf<V, IntegerCodes<V>>,
    .multiply_fp32 = &multiply_fp32<V>,
    .quantise = nullptr,
    .sum_groups = nullptr,
    .split = nullptr,
    .lora_bf16 = {&lora_shrink<V, Bf16Pages<V>>, &lora_expand<V, Bf16Pages<V>>},
    .lora_int8 = {&lora_shrink<V, Int8Pages<V>>, &lora_expand<V, Int8Pages<V>>},
    .multiply_own_rows = &multiply_own_rows<V>,
    .rms_norm = &rms_norm<V>,
    .add_scaled = &add_scaled<V>,
    .scale = &scale<V>,
    .softcap = &softcap<V>,
    .silu_multiply = &silu_multiply<V>,
    .gelu_multiply = &gelu_multiply<V>,
    .widen_bf16 = &widen_bf16<V>,
    .rotate = &rotate<V>,
    .store_kv = &store_kv<V>,
    .attend = &attend<V>,
    .attend_parts = &attend_parts<V>,
    .join_parts = &join_parts<V>,
};

}  // namespace tessera
