// dora.hpp — weight-decomposed LoRA, brought into the form that kernels apply.
//
//   y = c * (W x + s B A x) + b_W       c = magnitude / |W + s B A|, by row of W
//
// (Liu et al., 2024, and PEFT's tuners/lora/dora.py.) The norm is of the base as it is served, so
// of quantised weights dequantised; c is one number an output, and nothing else of W is needed
// later. Of the embedding, whose outputs are the columns of its table, the norm is by column.
#pragma once

#include <vector>

#include "adapters/adapter.hpp"
#include "kernels/weights.hpp"

namespace tessera {

// |W + s B A| of each output of a module of the base's naming or of an adapter's: (out_features,).
// `replaced` are rows of the table that the adapter has of its own, of embedding and head. Time:
// about rank multiplications for each weight of W; memory: a few rows.
std::vector<float> dora_norms(const AdapterModule& module, const ModelWeights& weights,
                              const AdapterRows& replaced);

// Sets out_scale from magnitude; not finite where a norm is zero.
void set_out_scale(AdapterModule& module, const ModelWeights& weights, const AdapterRows& replaced);

}  // namespace tessera
