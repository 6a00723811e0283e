// tensor_plan.hpp — which tensor of a checkpoint, and which part of it, each section of a packed
// file is made from.
//
// What architectures and the tools that save them disagree about, in names, in fused matrices
// (qkv_proj, gate_up_proj), in norms that are stored less one, is settled here, so that sources
// (safetensors, GGUF …) need only know tensors by Hugging Face's names, and the writer only
// sections.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

enum class TensorRole : std::uint8_t {
  kLinear,  // quantised: the seven modules of a layer and those of experts
  kTable,   // embedding and head: in a form of the user's choice
  kFp32,    // norms, biases, routers: as they are, in fp32
};

struct PlannedTensor {
  std::string section = {};  // "layers.3.q_proj", "layers.3.experts.7.down_proj", "final_norm" …
  std::string tensor = {};   // "model.layers.3.self_attn.qkv_proj.weight"
  TensorRole role = TensorRole::kFp32;
  int rows = 1;  // of the section; a vector is one row
  int cols = 0;
  int first_row = 0;  // of the section in the tensor, whose leading dimensions count as rows
  float add = 0.0F;   // to every value: 1 for the norms that are stored less one
};

// The matrices and vectors of a model of this spec, in the order in which a packed file has them,
// without their tensors. A layer's are, where it has them: attention_norm, mlp_norm,
// post_attention_norm, post_mlp_norm, q_norm, k_norm; each linear, followed by its .bias; and in
// place of gate, up and down of a layer with experts: router, then experts.N.gate_proj, .up_proj
// and .down_proj of each.
std::vector<PlannedTensor> planned_sections(const ModelSpec& spec);

// Whether the checkpoint has a tensor of that name (with ".weight" and the like).
using HasTensor = std::function<bool(std::string_view)>;

// The same with their tensors. `architecture` is config.json's. Errors: kCorrupt, naming a tensor
// that no known naming has.
Result<std::vector<PlannedTensor>> plan_tensors(const ModelSpec& spec,
                                                std::string_view architecture,
                                                const HasTensor& has_tensor);

// Whether a tensor that no plan asks for is one that checkpoints are known to carry and a text
// model does not need: tables of rotary frequencies, a tied head's copy, a vision tower.
bool is_surplus(const ModelSpec& spec, std::string_view tensor);

}  // namespace tessera
