// seeded_checkpoint.hpp — the models of make_architecture_goldens.py, made again from their seeds.
//
// A case has the config.json and the tensors' names of a real checkpoint; the tensors' values are
// the numbers that the generator computed likewise, in bf16.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/bf16.hpp"
#include "kernels/weights.hpp"

namespace tessera::goldens {

// Element i of SplitMix64 (Steele, Lea and Flood, 2014) begun at the FNV-1a hash of `name`.
class SeededBits {
 public:
  explicit SeededBits(std::string_view name);
  std::uint64_t operator[](std::size_t index) const;

 private:
  std::uint64_t begin_;
};

class SeededCheckpoint {
 public:
  explicit SeededCheckpoint(const std::string& name);
  SeededCheckpoint(const SeededCheckpoint&) = delete;
  SeededCheckpoint& operator=(const SeededCheckpoint&) = delete;

  const std::filesystem::path& data() const { return data_; }

  // Writes config.json and model.safetensors, as a user would have them.
  void write(const std::filesystem::path& directory) const;

  // The model without any rounding: every matrix in bf16. Views of this object.
  ModelWeights weights();

 private:
  struct Tensor {
    std::vector<std::int64_t> shape;
    std::vector<Bf16> values;
  };

  Tensor make_tensor(const nlohmann::json& described) const;
  void fill_first(const nlohmann::json& described, std::vector<float>& values) const;

  std::string name_;
  std::filesystem::path data_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::deque<std::vector<float>> vectors_;
};

}  // namespace tessera::goldens
