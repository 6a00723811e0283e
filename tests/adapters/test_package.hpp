// test_package.hpp — a small base model, and PEFT packages for it that tests can bend.
//
// TestPackage is an upload before it is bytes: a config as JSON and tensors as floats. It starts as
// what PEFT writes for q_proj and v_proj at rank 4, and is valid until a test changes it.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"
#include "adapters/validator.hpp"
#include "kernels/bf16.hpp"

namespace tessera {

inline constexpr std::string_view kPeftPrefix = "base_model.model.";

inline BaseModel test_base() {
  BaseModel base{.name = "tiny", .aliases = {"acme/tiny-llama"}};
  base.digest.bytes.fill(7);
  base.spec = {.vocab_size = 96,
               .hidden = 64,
               .intermediate = 128,
               .num_heads = 4,
               .num_kv_heads = 2,
               .head_dim = 16,
               .max_positions = 64,
               .layers = std::vector<LayerSpec>(2)};
  return base;
}

struct TestTensor {
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::vector<float> values = {};
};

class TestPackage {
 public:
  explicit TestPackage(unsigned seed = 1) : random_(seed) {
    config = {{"peft_type", "LORA"},      {"base_model_name_or_path", "tiny"},
              {"task_type", "CAUSAL_LM"}, {"r", 4},
              {"lora_alpha", 8},          {"target_modules", {"q_proj", "v_proj"}}};
    for (const BaseModule& module : base_modules(test_base().spec)) {
      if (module.target() == "q_proj" || module.target() == "v_proj") add_pair(module, 4);
    }
  }

  // A pair of random matrices for `module`, named as PEFT names them.
  void add_pair(const BaseModule& module, int rank) {
    const bool is_embedding = module.kind == ModuleKind::kEmbed;
    const std::string stem =
        std::string(kPeftPrefix) + module.path + (is_embedding ? ".lora_embedding_" : ".lora_");
    const std::string end = is_embedding ? "" : ".weight";
    tensors[stem + "A" + end] = random_tensor({rank, module.shape.in_features});
    tensors[stem + "B" + end] = random_tensor({module.shape.out_features, rank});
  }

  TestTensor random_tensor(std::vector<std::int64_t> shape) {
    TestTensor tensor{.shape = std::move(shape)};
    std::size_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= static_cast<std::size_t>(size);
    std::uniform_int_distribution<int> quarters(-8, 8);  // exact in every dtype
    for (std::size_t i = 0; i < count; ++i) {
      tensor.values.push_back(static_cast<float>(quarters(random_)) * 0.25F);
    }
    return tensor;
  }

  TestTensor& tensor(std::string_view path) {
    return tensors.at(std::string(kPeftPrefix).append(path));
  }

  std::string config_text() const { return config.dump(); }

  std::vector<std::byte> tensor_bytes() const {
    std::vector<std::vector<std::byte>> data;
    std::vector<StoredTensor> stored;
    data.reserve(tensors.size());
    for (const auto& [name, tensor] : tensors) {
      data.push_back(encode(tensor));
      stored.push_back(
          {.name = name, .dtype = tensor.dtype, .shape = tensor.shape, .bytes = data.back()});
    }
    return write_safetensors(stored);
  }

  Validation validate(const BaseModel& base = test_base()) const {
    return validate_adapter(config_text(), tensor_bytes(), base);
  }

  nlohmann::ordered_json config;
  std::map<std::string, TestTensor> tensors;

 private:
  template <class Stored>
  static void append(std::vector<std::byte>& out, Stored stored) {
    const auto bytes = std::as_bytes(std::span(&stored, 1));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }

  // Values are small multiples of a quarter unless a test says otherwise; F16 holds those exactly.
  static std::uint16_t to_f16(float value) {
    if (value == 0.0F) return 0;
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t exponent = ((bits >> 23) & 0xFFU) - 127 + 15;
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000U) | exponent << 10 |
                                      (bits >> 13 & 0x3FFU));
  }

  static std::vector<std::byte> encode(const TestTensor& tensor) {
    std::vector<std::byte> out;
    for (const float value : tensor.values) {
      if (tensor.dtype == Dtype::kF16) {
        append(out, to_f16(value));
      } else if (tensor.dtype == Dtype::kBf16) {
        append(out, float_to_bf16(value));
      } else if (tensor.dtype == Dtype::kF64) {
        append(out, static_cast<double>(value));
      } else {
        append(out, value);
      }
    }
    return out;
  }

  std::mt19937 random_;
};

// The wire names of the errors in a report.
inline std::set<std::string> error_codes(const Findings& findings) {
  std::set<std::string> codes;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kError) codes.emplace(to_string(finding.code));
  }
  return codes;
}

inline std::set<std::string> warning_codes(const Findings& findings) {
  std::set<std::string> codes;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kWarning) codes.emplace(to_string(finding.code));
  }
  return codes;
}

}  // namespace tessera
