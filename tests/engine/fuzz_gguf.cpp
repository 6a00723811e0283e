// fuzz_gguf.cpp — no bytes make the GGUF reader misbehave, nor the model and blocks that it finds.
#include <cstdlib>
#include <vector>

#include "engine/model/gguf_blocks.hpp"
#include "engine/model/gguf_model.hpp"

namespace {

constexpr std::int64_t kColsMax = 1 << 16;

// Every value that a tensor's first row has.
void read_row(const tessera::TensorSource& source) {
  if (source.cols() > kColsMax) return;
  std::vector<float> values(static_cast<std::size_t>(source.cols()));
  if (!source.read(0, values)) return;
  if (source.is_quantised() && !source.take(0, 1)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = tessera::parse_gguf(std::as_bytes(std::span(data, size)));
  if (!file) {
    if (file.error().message.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  for (const tessera::GgufTensor& tensor : file->tensors) {
    std::vector<std::int64_t> shape(tensor.dims.rbegin(), tensor.dims.rend());
    read_row(*tessera::make_gguf_source(tensor, std::move(shape), 0, {}));
  }
  const auto model = tessera::read_gguf_model(*file);
  if (!model) return 0;
  for (const auto& [name, tensor] : model->tensors) read_row(*tensor);
  return 0;
}
