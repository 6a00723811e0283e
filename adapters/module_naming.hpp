// module_naming.hpp — under which names, and in which matrices, a framework kept the base's modules
// when an adapter was trained.
//
// The same base is one matrix a module here, and elsewhere q, k and v in one (Phi-3), an expert's
// linears as modules of two names (transformers 4), or all experts of a layer in one parameter
// (transformers 5). PEFT's names and ranks are those of what it wrapped, so a config is matched
// against, and tensors are bound to, the modules in the adapter's own naming, and each pair is then
// taken apart into those of ours:
//
//   fused rows    qkv_proj, gate_up_proj: all have the pair's A, and each its rows of B
//   parameters    mlp.experts.gate_up_proj, .down_proj of E experts (PEFT's ParamWrapper, 0.21):
//                 A (E r, in) has expert e in rows [e r, (e + 1) r), B (out, r E) in every E-th
//                 column from e; PEFT nests one parameter's wrapper in the other's
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/adapter.hpp"
#include "adapters/base_model.hpp"
#include "adapters/peft_config.hpp"
#include "adapters/safetensors.hpp"

namespace tessera {

enum class ExpertNaming : std::uint8_t {
  kModules,         // mlp.experts.7.gate_proj
  kMixtralModules,  // block_sparse_moe.experts.7.w1
  kParameters,      // mlp.experts.gate_up_proj
};

struct ModuleNaming {
  std::string prefix = "model.";  // of "layers.0…" and "embed_tokens"
  bool fused_rows = false;
  ExpertNaming experts = ExpertNaming::kModules;
  std::vector<bool> nested = {};   // (num_layers,) whether both parameters have tensors
  std::vector<bool> gate_up = {};  // (num_layers,) if not nested, whether it is gate_up_proj
};

// Told by the names in the tensors and, where those leave it open, in the config; either may be
// null.
ModuleNaming naming_of(const SafetensorsFile* file, const PeftConfig* config,
                       const ModelSpec& spec);

// Every module that PEFT could have wrapped under that naming.
std::vector<BaseModule> named_modules(const ModelSpec& spec, const ModuleNaming& naming);

// Our linears whose rows, one behind the other, a linear's matrix holds: one, or those of a fusion.
std::vector<Linear> linears_of(const BaseModule& module);

// The pairs of our modules that a pair of one of named_modules() is made of.
std::vector<AdapterModule> split_module(AdapterModule&& module, const ModelSpec& spec);

}  // namespace tessera
