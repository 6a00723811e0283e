// balanced_pair.hpp — pairs whose parts cancel, rewritten so that rounding them does not show.
//
// A converted PiSSA, OLoRA or CorDA adapter is the difference of two pairs, the trained one and the
// initial one, written as one of twice the rank. Each is many times as large as their difference;
// pages of fewer bits round each by itself, and the error is that many times too large (on PEFT's
// converted adapters 2.5 % of the change to the weights, where any other adapter has 0.25 %).
//
// Any invertible M gives the same product: B A = (B M^-1) (M A). With A = L Q, Q's rows
// orthonormal, the pair (B L, Q) has no part larger than the product itself: the cancellation
// happens here, in double, and what is rounded afterwards is small. Pairs that are exact in bf16,
// and those whose parts do not cancel, are left as they are, bit by bit.
#pragma once

#include <cstdint>
#include <optional>

#include "adapters/adapter.hpp"

namespace tessera {

// Parts more than so many times as large as their product are said to cancel.
inline constexpr double kMaxCancellation = 3.0;
// Of one adapter: sum over its balanced modules of in_features * rank^2. Modules beyond that, those
// of very large ranks and models, stay as they are: validation must end in time. About 5 s of one
// core.
inline constexpr std::uint64_t kMaxBalanceWork = std::uint64_t{1} << 31;

// How many times larger the parts of the scaled pair are, put together as if nothing cancelled,
// than their product; an estimate from a few random vectors, always the same. 1 for a rank of 1.
double cancellation(const AdapterModule& module);

// The pair (a, b; scale 1) that is better rounded, if there is reason for one and `work_left`
// suffices, which is then less. The module's other parts are not copied.
std::optional<AdapterModule> balanced_pair(const AdapterModule& module, std::uint64_t& work_left);

}  // namespace tessera
