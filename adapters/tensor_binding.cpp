#include "adapters/tensor_binding.hpp"

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tessera {
namespace {

using enum FindingCode;

class Binder {
 public:
  Binder(std::span<const BaseModule> modules, Findings& findings)
      : modules_(modules), findings_(findings) {
    binding_.modules.resize(modules.size());
    for (std::size_t i = 0; i < modules.size(); ++i) index_of_[modules[i].path] = i;
  }

  void bind(const StoredTensor& tensor) {
    const PeftTensorName name = parse_peft_tensor_name(tensor.name);
    const auto found = index_of_.find(name.path);
    if (found == index_of_.end()) return refuse_unbound(tensor, name);
    if (!name.is_part()) return refuse_kind(tensor, name.kind);
    bind_part(tensor, name, found->second);
  }

  Binding finish() {
    if (adapter_names_.size() > 1) {
      findings_.push_back({.code = kMixedAdapterNames,
                           .message =
                               "The tensors' names carry the names of several adapters; save "
                               "one adapter with save_pretrained."});
    }
    return std::move(binding_);
  }

 private:
  void report(FindingCode code, const StoredTensor& tensor, std::string message) {
    findings_.push_back({.code = code,
                         .about = Finding::About::kTensor,
                         .subject = tensor.name,
                         .message = std::move(message)});
  }

  void refuse_unbound(const StoredTensor& tensor, const PeftTensorName& name) {
    if (name.path.ends_with(".mlp.gate") || name.path.ends_with(".block_sparse_moe.gate")) {
      return report(kUnsupportedTensor, tensor,
                    "Adapters of a router, which chooses experts, are not served.");
    }
    if (refusal_of(name.kind) == kUnboundTensor || name.kind == PeftTensorKind::kLoraBias) {
      return report(kUnboundTensor, tensor, "The tensor belongs to no module of the base model.");
    }
    refuse_kind(tensor, name.kind);
  }

  void refuse_kind(const StoredTensor& tensor, PeftTensorKind kind) {
    if (kind == PeftTensorKind::kVeloraState) {
      report(kIgnoredTensor, tensor, "Training state was left out.");
      findings_.back().severity = Severity::kWarning;
      return;
    }
    report(refusal_of(kind), tensor, "The tensor is no part of an adapter that can be served.");
  }

  // Whether a module of that kind can have such a part.
  static bool can_have(const BaseModule& module, const PeftTensorName& name) {
    const bool is_table = module.kind != ModuleKind::kLinear;
    switch (name.kind) {
      case PeftTensorKind::kLoraEmbeddingA:
      case PeftTensorKind::kLoraEmbeddingB:
        return module.kind == ModuleKind::kEmbed;
      case PeftTensorKind::kLoraA:
      case PeftTensorKind::kLoraB:
      case PeftTensorKind::kLoraBias:
        return module.kind != ModuleKind::kEmbed;
      case PeftTensorKind::kWeight:
      case PeftTensorKind::kTokenDelta:
        return is_table;
      default:
        return true;
    }
  }

  void bind_part(const StoredTensor& tensor, const PeftTensorName& name, std::size_t index) {
    if (!can_have(modules_[index], name)) {
      if (!name.is_pair_half()) return refuse_kind(tensor, name.kind);
      return report(kUnsupportedTensor, tensor,
                    "Embeddings have lora_embedding_A and _B, linear modules lora_A and _B.");
    }
    const StoredTensor*& part = binding_.modules[index][name.kind];
    if (part != nullptr) {
      return report(kDuplicateTensor, tensor, "Another tensor means the same matrix.");
    }
    part = &tensor;
    ++binding_.tensors_bound;
    if (!name.is_of_base()) adapter_names_.insert(name.adapter);
    if (!name.adapter.empty()) {
      binding_.renamed.push_back({tensor.name, plain_tensor_name(name)});
    }
  }

  std::span<const BaseModule> modules_;
  Findings& findings_;
  std::unordered_map<std::string_view, std::size_t> index_of_;  // module path -> index
  std::set<std::string_view> adapter_names_;                    // "" for stripped names
  Binding binding_;
};

}  // namespace

const StoredTensor*& BoundModule::operator[](PeftTensorKind kind) {
  switch (kind) {
    case PeftTensorKind::kLoraA:
    case PeftTensorKind::kLoraEmbeddingA:
      return a;
    case PeftTensorKind::kLoraB:
    case PeftTensorKind::kLoraEmbeddingB:
      return b;
    case PeftTensorKind::kLoraBias:
      return lora_bias;
    case PeftTensorKind::kDoraMagnitude:
      return magnitude;
    case PeftTensorKind::kBias:
      return bias;
    case PeftTensorKind::kTokenDelta:
      return tokens;
    default:
      return weight;
  }
}

Binding bind_tensors(const SafetensorsFile& file, std::span<const BaseModule> modules,
                     Findings& findings) {
  Binder binder(modules, findings);
  for (const StoredTensor& tensor : file.tensors) binder.bind(tensor);
  return binder.finish();
}

}  // namespace tessera
