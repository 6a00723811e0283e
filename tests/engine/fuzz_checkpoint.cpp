// fuzz_checkpoint.cpp — no safetensors file makes the readers of quantised checkpoints misbehave.
//
// The first byte picks the kind of checkpoint, the rest is the file.
#include <array>
#include <cstdlib>
#include <vector>

#include "engine/model/safetensors_source.hpp"

namespace {

constexpr std::int64_t kColsMax = 1 << 16;
constexpr std::array kForms = {"gptq", "awq", "bitsandbytes", "compressed-tensors", "fp8"};

void read_ends(const tessera::TensorSource& source) {
  if (source.cols() > kColsMax || source.cols() < 1 || source.rows() < 1) return;
  std::vector<float> values(static_cast<std::size_t>(source.cols()));
  for (const std::int64_t row : {std::int64_t{0}, source.rows() - 1}) {
    if (!source.read(row, values)) return;
    static_cast<void>(source.take(row, 1));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const tessera::CheckpointForm form{.name = kForms[data[0] % kForms.size()],
                                     .zeros_less_one = (data[0] & 0x80U) == 0};
  const auto file = tessera::parse_safetensors(std::as_bytes(std::span(data + 1, size - 1)));
  if (!file) return 0;
  tessera::RawTensors raw;
  for (const tessera::StoredTensor& tensor : file->tensors) raw.emplace(tensor.name, tensor);
  const auto sources = tessera::make_safetensors_sources(raw, form);
  if (!sources) return 0;
  for (const auto& [name, source] : *sources) read_ends(*source);
  return 0;
}
