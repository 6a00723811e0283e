#include "adapters/tensor_binding.hpp"

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "adapters/peft_tensors.hpp"
#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

using enum FindingCode;

class Binder {
 public:
  Binder(const BaseModel& base, std::span<const BaseModule> modules, Findings& findings)
      : base_(base), modules_(modules), findings_(findings) {
    binding_.pairs.resize(modules.size());
    for (std::size_t i = 0; i < modules.size(); ++i) index_of_[modules[i].path] = i;
  }

  void bind(const StoredTensor& tensor) {
    const PeftTensorName name = parse_peft_tensor_name(tensor.name);
    const auto found = index_of_.find(name.path);
    if (found == index_of_.end()) return refuse_unbound(tensor, name);
    if (!name.is_pair_half()) return refuse_extra(tensor, name, modules_[found->second]);
    bind_half(tensor, name, found->second);
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

  void warn(const StoredTensor& tensor, std::string message) {
    report(kIgnoredTensor, tensor, std::move(message));
    findings_.back().severity = Severity::kWarning;
  }

  void refuse_unbound(const StoredTensor& tensor, const PeftTensorName& name) {
    if (name.path.ends_with(".mlp.gate") || name.path.ends_with(".block_sparse_moe.gate")) {
      return report(kUnsupportedTensor, tensor,
                    "Adapters of a router, which chooses experts, are not served.");
    }
    if (name.is_pair_half() || name.kind == PeftTensorKind::kUnknown) {
      return report(kUnboundTensor, tensor, "The tensor belongs to no module of the base model.");
    }
    refuse_kind(tensor, name.kind);
  }

  void refuse_kind(const StoredTensor& tensor, PeftTensorKind kind) {
    if (kind == PeftTensorKind::kVeloraState) return warn(tensor, "Training state was left out.");
    report(refusal_of(kind), tensor, "The tensor is no part of a plain LoRA adapter.");
  }

  // A tensor that is about a module of ours, but is not A or B.
  void refuse_extra(const StoredTensor& tensor, const PeftTensorName& name,
                    const BaseModule& module) {
    const bool is_table = module.kind != ModuleKind::kLinear;
    if (name.kind != PeftTensorKind::kWeight || !is_table) return refuse_kind(tensor, name.kind);
    if (is_copy_of_base(tensor, module)) {
      return warn(tensor, "A copy of the base's own weights was left out.");
    }
    report(kEmbeddingWeightsPresent, tensor,
           "The upload replaces the base's embedding or head; save it with "
           "save_embedding_layers=False if they were not trained.");
  }

  bool is_copy_of_base(const StoredTensor& tensor, const BaseModule& module) const {
    const auto* weights = module.kind == ModuleKind::kEmbed ? base_.embedding : base_.head;
    const std::int64_t vocab = base_.spec.vocab_size;
    const std::int64_t hidden = base_.spec.hidden;
    if (weights == nullptr || tensor.shape != std::vector{vocab, hidden}) return false;
    return holds_exactly(tensor, {weights, static_cast<std::size_t>(vocab * hidden)});
  }

  void bind_half(const StoredTensor& tensor, const PeftTensorName& name, std::size_t index) {
    if (name.is_embedding() != (modules_[index].kind == ModuleKind::kEmbed)) {
      return report(kUnsupportedTensor, tensor,
                    "Embeddings have lora_embedding_A and _B, linear modules lora_A and _B.");
    }
    BoundPair& pair = binding_.pairs[index];
    const StoredTensor*& half = name.is_a() ? pair.a : pair.b;
    if (half != nullptr) {
      return report(kDuplicateTensor, tensor, "Another tensor means the same matrix.");
    }
    half = &tensor;
    ++binding_.tensors_bound;
    adapter_names_.insert(name.adapter);
    if (!name.adapter.empty()) binding_.renamed.push_back({tensor.name, plain_name(name)});
  }

  static std::string plain_name(const PeftTensorName& name) {
    std::string text(name.path);
    text += name.is_embedding() ? ".lora_embedding_" : ".lora_";
    text += name.is_a() ? 'A' : 'B';
    return name.is_embedding() ? text : text + ".weight";
  }

  const BaseModel& base_;
  std::span<const BaseModule> modules_;
  Findings& findings_;
  std::unordered_map<std::string_view, std::size_t> index_of_;  // module path -> index
  std::set<std::string_view> adapter_names_;                    // "" for stripped names
  Binding binding_;
};

}  // namespace

Binding bind_tensors(const SafetensorsFile& file, const BaseModel& base,
                     std::span<const BaseModule> modules, Findings& findings) {
  Binder binder(base, modules, findings);
  for (const StoredTensor& tensor : file.tensors) binder.bind(tensor);
  return binder.finish();
}

}  // namespace tessera
