// make_kernel_table.hpp — the table of one vec: all kernels are instantiated here.
#pragma once

#include "kernels/cpu/attention_kernels.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/linear_kernels.hpp"
#include "kernels/cpu/lora_kernels.hpp"
#include "kernels/cpu/row_kernels.hpp"

namespace tessera {

template <class V>
inline constexpr KernelTable kKernelTableOf = {
    .name = V::kName,
    .multiply_nf4 = &multiply<V, Nf4Decoder<V>>,
    .multiply_int8 = &multiply<V, Int8Decoder<V>>,
    .multiply_bf16 = &multiply<V, Bf16Decoder<V>>,
    .quantise = nullptr,
    .lora_shrink = &lora_shrink<V>,
    .lora_expand = &lora_expand<V>,
    .rms_norm = &rms_norm<V>,
    .add = &add<V>,
    .silu_multiply = &silu_multiply<V>,
    .widen_bf16 = &widen_bf16<V>,
    .rotate = &rotate<V>,
    .store_kv = &store_kv<V>,
    .attend = &attend<V>,
    .attend_parts = &attend_parts<V>,
    .join_parts = &join_parts<V>,
};

}  // namespace tessera
