#include "tests/goldens/seeded_checkpoint.hpp"

#include <fstream>
#include <functional>
#include <numeric>

#include "adapters/safetensors.hpp"
#include "engine/model/model_config.hpp"
#include "engine/model/tensor_plan.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera::goldens {
namespace {

// Where a section of the plan goes.
class WeightsBinder {
 public:
  explicit WeightsBinder(ModelWeights& weights) : weights_(weights) {
    weights.layers.resize(weights.spec.layers.size());
    for (LayerWeights& layer : weights.layers) {
      layer.experts.resize(static_cast<std::size_t>(weights.spec.num_experts));
    }
  }

  void bind(const PlannedTensor& planned, const WeightMatrix& matrix) {
    if (planned.section == "embedding") weights_.embedding = matrix;
    if (planned.section == "head") weights_.head = matrix;
    if (planned.role == TensorRole::kTable) return;
    for (const Linear linear : kAllLinears) {
      if (part(planned) == linear_name(linear)) {
        layer(planned).linears[static_cast<std::size_t>(linear)] = matrix;
      }
    }
    for (std::size_t i = 0; i < kNumExpertLinears; ++i) {
      const std::string end = "." + std::string(linear_name(kExpertLinears[i]));
      if (!part(planned).starts_with("experts.") || !planned.section.ends_with(end)) continue;
      const auto expert = static_cast<std::size_t>(std::stoi(part(planned).substr(8)));
      layer(planned).experts.at(expert)[i] = matrix;
    }
  }

  void bind(const PlannedTensor& planned, const float* values) {
    if (planned.section == "final_norm") {
      weights_.final_norm = values;
      return;
    }
    LayerWeights& to = layer(planned);
    const std::pair<const char*, const float**> vectors[] = {
        {"attention_norm", &to.attention_norm},
        {"mlp_norm", &to.mlp_norm},
        {"post_attention_norm", &to.post_attention_norm},
        {"post_mlp_norm", &to.post_mlp_norm},
        {"q_norm", &to.q_norm},
        {"k_norm", &to.k_norm},
        {"router", &to.router}};
    for (const auto& [name, vector] : vectors) {
      if (part(planned) == name) *vector = values;
    }
    for (const Linear linear : kAllLinears) {
      if (part(planned) == std::string(linear_name(linear)) + ".bias") {
        to.biases[static_cast<std::size_t>(linear)] = values;
      }
    }
  }

 private:
  // "layers.3.q_proj": layer 3, "q_proj".
  LayerWeights& layer(const PlannedTensor& planned) {
    return weights_.layers.at(static_cast<std::size_t>(std::stoi(planned.section.substr(7))));
  }
  static std::string part(const PlannedTensor& planned) {
    return planned.section.substr(planned.section.find('.', 7) + 1);
  }

  ModelWeights& weights_;
};

}  // namespace

SeededBits::SeededBits(std::string_view name) : begin_(0xCBF29CE484222325U) {
  for (const char c : name) {
    begin_ = (begin_ ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }
}

std::uint64_t SeededBits::operator[](std::size_t index) const {
  std::uint64_t mixed = begin_ + (index + 1) * 0x9E3779B97F4A7C15U;
  mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
  return mixed ^ (mixed >> 31U);
}

SeededCheckpoint::SeededCheckpoint(const std::string& name)
    : name_(name), data_(kData / "architectures" / name) {
  const nlohmann::json list = read_json(data_ / "tensors.json");
  for (const auto& described : list) {
    tensors_.emplace(described.at("name"), make_tensor(described));
  }
}

SeededCheckpoint::Tensor SeededCheckpoint::make_tensor(const nlohmann::json& described) const {
  Tensor tensor{.shape = described.at("shape"), .values = {}};
  const auto count = std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1},
                                     std::multiplies<>());
  const SeededBits bits(name_ + '/' + described.at("name").get<std::string>());
  const auto center = described.at("center").get<float>();
  const auto radius = described.at("radius").get<float>();
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float uniform = static_cast<float>(bits[i] >> 40U) * 0x1p-23F - 1.0F;
    values[i] = center + radius * uniform;
  }
  if (described.contains("first")) fill_first(described, values);
  for (const float value : values) tensor.values.push_back(float_to_bf16(value));
  return tensor;
}

// What makes the choice of experts clear-cut.
void SeededCheckpoint::fill_first(const nlohmann::json& described,
                                  std::vector<float>& values) const {
  const auto experts = described.at("experts").get<std::size_t>();
  const std::string kind = described.at("first");
  const auto cols = described.at("shape").back().get<std::size_t>();
  const SeededBits turns(name_ + "/levels");
  if (kind == "ones") std::fill_n(values.begin(), experts, 1.0F);
  if (kind == "router") {
    for (std::size_t e = 0; e < experts; ++e) values[e * cols + e] = 1.0F;
  }
  for (std::size_t row = 0; kind == "levels" && row < values.size() / cols; ++row) {
    for (std::size_t e = 0; e < experts; ++e) {
      const std::size_t level = (e + turns[row] % experts) % experts + 1;
      values[row * cols + e] = 16.0F * static_cast<float>(level);
    }
  }
}

void SeededCheckpoint::write(const std::filesystem::path& directory) const {
  std::filesystem::copy_file(data_ / "config.json", directory / "config.json");
  std::vector<StoredTensor> stored;
  for (const auto& [name, tensor] : tensors_) {
    stored.push_back({.name = name,
                      .dtype = Dtype::kBf16,
                      .shape = tensor.shape,
                      .bytes = std::as_bytes(std::span(tensor.values))});
  }
  const std::vector<std::byte> file = write_safetensors(stored);
  std::ofstream out(directory / "model.safetensors", std::ios::binary);
  for (const std::byte byte : file) out.put(static_cast<char>(byte));
  if (!out.flush()) throw std::runtime_error("cannot write " + directory.string());
}

ModelWeights SeededCheckpoint::weights() {
  const std::string config = read_file(data_ / "config.json");
  ModelWeights weights;
  weights.spec = parse_model_config(config).value();
  const auto plan =
      plan_tensors(weights.spec, parse_architecture(config).value(), [&](std::string_view name) {
        return tensors_.contains(name);
      }).value();
  WeightsBinder binder(weights);
  for (const PlannedTensor& planned : plan) {
    const std::vector<Bf16>& values = tensors_.at(planned.tensor).values;
    const Bf16* first =
        values.data() + static_cast<std::ptrdiff_t>(planned.first_row) * planned.cols;
    if (planned.role != TensorRole::kFp32) {
      binder.bind(planned, bf16_matrix(first, planned.rows, planned.cols));
      continue;
    }
    std::vector<float>& vector = vectors_.emplace_back();
    for (int i = 0; i < planned.rows * planned.cols; ++i) {
      vector.push_back(bf16_to_float(first[i]) + planned.add);
    }
    binder.bind(planned, vector.data());
  }
  if (weights.spec.tied_embeddings) weights.head = weights.embedding;
  return weights;
}

}  // namespace tessera::goldens
