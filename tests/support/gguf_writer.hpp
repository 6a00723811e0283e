// gguf_writer.hpp — GGUF files for tests and benches: a writer, and blocks by rounding to nearest.
//
// What a file looks like is told in engine/model/gguf_file.hpp and gguf_blocks.hpp. The K types'
// scales are found in the plainest way (largest and smallest value of a group), not by llama.cpp's
// search, so their errors are an upper bound of what its quantiser makes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/model/gguf_file.hpp"

namespace tessera::testing_gguf {

std::uint16_t float_to_f16(float value);  // to nearest; finite values within range

// The blocks of `weights`, a whole number of them.
std::string encode(GgmlType type, std::span<const float> weights);

class Writer {
 public:
  explicit Writer(int version = 3) : version_(version) {}

  void add(const std::string& key, std::uint32_t value);
  void add(const std::string& key, float value);
  void add_flag(const std::string& key, bool value);
  void add(const std::string& key, const std::string& value);
  void add(const std::string& key, const std::vector<std::string>& values);
  void add(const std::string& key, const std::vector<std::int32_t>& values);
  void add(const std::string& key, const std::vector<float>& values);

  // dims: fastest first.
  void add_tensor(const std::string& name, const std::vector<std::int64_t>& dims, GgmlType type,
                  std::string bytes);

  std::string finish() const;

 private:
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> dims;
    GgmlType type;
    std::string bytes;
  };

  void add_raw(const std::string& key, std::uint32_t type, const std::string& value);

  int version_;
  std::uint64_t num_metadata_ = 0;
  std::string metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace tessera::testing_gguf
