#include "engine/model/inspect.hpp"

#include <algorithm>
#include <fstream>
#include <functional>
#include <span>
#include <utility>

#include "engine/model/gguf_file.hpp"
#include "engine/model/model_source.hpp"

namespace tessera {
namespace {

void count(const std::string& form, std::uintmax_t weights, std::uintmax_t bytes,
           Inspection& inspection) {
  auto& forms = inspection.forms;
  auto found = std::ranges::find(forms, form, &FormCount::form);
  if (found == forms.end()) found = forms.insert(forms.end(), FormCount{.form = form});
  ++found->tensors;
  found->weights += weights;
  found->bytes += bytes;
  inspection.bytes += bytes;
}

bool begins_as_gguf(const std::filesystem::path& path) {
  std::byte start[4] = {};
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(start), sizeof start);  // NOLINT: bytes are bytes
  return in.gcount() == sizeof start && looks_like_gguf(start);
}

Result<Inspection> inspect_packed(const std::filesystem::path& path) {
  const auto model = PackedModel::open(path);
  if (!model) return model.error();
  Inspection inspection;
  inspection.kind = "packed model";
  inspection.spec = (*model)->spec();
  inspection.info = (*model)->info();
  inspection.digest = to_hex((*model)->digest());
  for (const PackedModel::PartInfo& part : (*model)->parts()) {
    const auto weights =
        static_cast<std::uintmax_t>(part.rows) * static_cast<std::uintmax_t>(part.cols);
    count(part.form, weights, part.bytes, inspection);
  }
  return inspection;
}

Result<Inspection> inspect_source(const std::filesystem::path& path, const char* kind) {
  const auto source = ModelSource::open(path);
  if (!source) return source.error();
  Inspection inspection;
  inspection.kind = kind;
  inspection.spec = source->spec();
  inspection.info = source->info();
  for (const auto& [name, tensor] : source->tensors()) {
    const auto weights =
        static_cast<std::uintmax_t>(tensor->rows()) * static_cast<std::uintmax_t>(tensor->cols());
    count(tensor->form(), weights, tensor->stored_bytes(), inspection);
  }
  return inspection;
}

}  // namespace

Result<Inspection> inspect_model(const std::filesystem::path& path) {
  std::error_code ignored;
  auto inspection = std::filesystem::is_directory(path, ignored)
                        ? inspect_source(path, "model directory")
                    : begins_as_gguf(path) ? inspect_source(path, "GGUF file")
                                           : inspect_packed(path);
  if (inspection) {
    std::ranges::stable_sort(inspection->forms, std::greater(), &FormCount::bytes);
  }
  return inspection;
}

std::string tokenizer_digest(const ModelInfo& info) {
  if (info.tokenizer.empty()) return {};
  return to_hex(sha256(std::as_bytes(std::span(info.tokenizer))));
}

}  // namespace tessera
