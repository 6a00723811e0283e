// goldens.hpp — the files that make_goldens.py wrote, as values.
//
// A file that is missing or broken ends the test program: a golden that cannot be read must never
// look like a golden that was met.
#pragma once

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/quantize.hpp"

namespace tessera::goldens {

namespace fs = std::filesystem;

inline const fs::path kData = fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / "data";
inline const fs::path kDemo = fs::path(TESSERA_SOURCE_DIR) / "examples" / "demo";

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline nlohmann::json read_json(const fs::path& path) {
  return nlohmann::json::parse(read_file(path));
}

// A safetensors file with its bytes.
class Tensors {
 public:
  explicit Tensors(const fs::path& path) : bytes_(read_file(path)) {
    file_ = parse_safetensors(std::as_bytes(std::span(bytes_))).value();
  }

  // The values of a tensor as T, which has the size of its dtype.
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const auto& stored = tensor(name);
    if (sizeof(T) * 8 != static_cast<std::size_t>(dtype_bits(stored.dtype))) {
      throw std::runtime_error(name + " has another dtype");
    }
    std::vector<T> values(stored.bytes.size() / sizeof(T));
    std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
    return values;
  }
  int dimension(const std::string& name, std::size_t axis) const {
    return static_cast<int>(tensor(name).shape.at(axis));
  }

 private:
  const StoredTensor& tensor(const std::string& name) const {
    const auto* found = file_.find(name);
    if (found == nullptr) throw std::runtime_error("no tensor " + name);
    return *found;
  }

  std::string bytes_;
  SafetensorsFile file_;  // points into bytes_
};

// The model in `directory` (Hugging Face layout), quantised as a user would.
inline std::unique_ptr<PackedModel> pack_model(const fs::path& directory) {
  std::string pattern = (fs::temp_directory_path() / "tessera-goldens-XXXXXX").string();
  const fs::path scratch = mkdtemp(pattern.data());
  auto summary = quantize_model(directory, scratch / "packed");
  if (!summary) throw std::runtime_error(summary.error().message);
  auto model = PackedModel::open(scratch / "packed", {.verify = Verify::kContents});
  fs::remove_all(scratch);  // the mapping stays
  if (!model) throw std::runtime_error(model.error().message);
  return std::move(model).value();
}

}  // namespace tessera::goldens
