#include "engine/model/packed_model.hpp"

#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "engine/model/model_config.hpp"
#include "engine/model/packed_format.hpp"
#include "engine/model/tensor_plan.hpp"
#include "kernels/weight_buffers.hpp"

namespace tessera {
namespace {

using packed::Header;
using packed::PlacedSection;
using packed::Prologue;

Error corrupt(std::string what) {
  return {Code::kCorrupt, std::move(what)};
}

Result<Prologue> read_prologue(std::span<const std::byte> file) {
  Prologue prologue;
  if (file.size() < sizeof prologue) return corrupt("it is shorter than a packed model's prologue");
  std::memcpy(&prologue, file.data(), sizeof prologue);
  if (std::string_view(prologue.magic.data(), 7) != std::string_view(packed::kMagic.data(), 7)) {
    return corrupt("it is not a packed model (make one with `tessera quantize`)");
  }
  if (prologue.magic != packed::kMagic) {
    return corrupt("it has another format version; quantise the model again");
  }
  if (prologue.file_bytes != file.size()) {
    return corrupt("it has " + std::to_string(file.size()) + " bytes and should have " +
                   std::to_string(prologue.file_bytes));
  }
  if (prologue.header_offset > file.size() ||
      prologue.header_bytes != file.size() - prologue.header_offset) {
    return corrupt("its header does not lie within it");
  }
  return prologue;
}

// The matrices' forms must be possible ones, one for each matrix.
Result<void> check_formats(const Header& header, const std::vector<PlannedTensor>& parts) {
  std::size_t matrix = 0;
  for (const PlannedTensor& part : parts) {
    if (!packed::is_matrix(part)) continue;
    if (matrix >= header.formats.size()) return corrupt("its list of matrices is wrong");
    if (auto checked = packed::check_format(header.formats[matrix++], part); !checked) {
      return checked;
    }
  }
  if (matrix != header.formats.size()) return corrupt("its list of matrices is wrong");
  return {};
}

// Those that spec and forms call for, in file order.
std::vector<packed::Section> expected_sections(const Header& header,
                                               const std::vector<PlannedTensor>& parts) {
  std::vector<packed::Section> expected;
  std::size_t matrix = 0;
  for (const PlannedTensor& part : parts) {
    const packed::MatrixFormat format =
        packed::is_matrix(part) ? header.formats[matrix++] : packed::MatrixFormat{};
    for (packed::Section& section : packed::sections_of(part, format)) {
      expected.push_back(std::move(section));
    }
  }
  return expected;
}

// The sections must be the expected ones, aligned, and within the file before the header.
Result<void> check_sections(const Header& header, const std::vector<PlannedTensor>& parts,
                            std::size_t end) {
  const std::vector<packed::Section> expected = expected_sections(header, parts);
  if (header.sections.size() != expected.size()) return corrupt("its list of sections is wrong");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const PlacedSection& section = header.sections[i];
    if (section.name != expected[i].name || section.bytes != expected[i].bytes) {
      return corrupt("section " + expected[i].name + " is missing or has the wrong size");
    }
    if (section.offset % packed::kAlignment != 0 || section.offset < sizeof(Prologue) ||
        section.offset > end || section.bytes > end - section.offset) {
      return corrupt("section " + section.name + " does not lie within it");
    }
  }
  return {};
}

// Orders are used as indices, so they are checked whatever else is trusted.
Result<void> check_orders(const Header& header, std::span<const std::byte> file) {
  for (const PlacedSection& section : header.sections) {
    if (!section.name.ends_with(".order")) continue;
    std::vector<std::int32_t> order(section.bytes / sizeof(std::int32_t));
    std::memcpy(order.data(), file.data() + section.offset, section.bytes);
    if (!is_permutation(order)) {
      return corrupt("section " + section.name + " is not an order of columns");
    }
  }
  return {};
}

Result<void> check_contents(const Header& header, std::span<const std::byte> file,
                            const ReadProgress& progress) {
  for (const PlacedSection& section : header.sections) {
    if (sha256(file.subspan(section.offset, section.bytes)) != section.sha256) {
      return corrupt("section " + section.name + " is damaged");
    }
    if (progress) progress(section.offset + section.bytes, file.size());
  }
  if (progress) progress(file.size(), file.size());
  return {};
}

// Reads and checks everything but the file's name.
Result<Header> read_header(std::span<const std::byte> file, const OpenOptions& options) {
  auto prologue = read_prologue(file);
  if (!prologue) return prologue.error();
  const auto header_bytes = file.subspan(prologue->header_offset);
  if (sha256(header_bytes) != prologue->header_sha256) return corrupt("its header is damaged");
  std::string text(header_bytes.size(), '\0');
  std::memcpy(text.data(), header_bytes.data(), text.size());

  auto header = packed::parse_header(text);
  if (!header) return header.error();
  if (auto checked = check_spec(header->spec); !checked) return corrupt(checked.error().message);
  const std::vector<PlannedTensor> parts = planned_sections(header->spec);
  auto checked = check_formats(*header, parts);
  if (checked) checked = check_sections(*header, parts, prologue->header_offset);
  if (checked) checked = check_orders(*header, file);
  if (!checked) return checked.error();
  if (packed::base_digest(*header) != header->digest) {
    return corrupt("its digest is not that of its sections");
  }
  if (options.verify == Verify::kContents) {
    const bool tell = !options.prefault;  // else prefaulting has told
    checked = check_contents(*header, file, tell ? options.progress : ReadProgress{});
    if (!checked) return checked.error();
  }
  return header;
}

// Hands out the parts in file order, which is that of planned_sections().
class PartCursor {
 public:
  PartCursor(const Header& header, std::span<const std::byte> file)
      : header_(header), file_(file), parts_(planned_sections(header.spec)) {}

  const float* next_fp32() {
    const PlannedTensor& part = parts_[part_++];
    const auto* values = next<float>();
    tell(part, "fp32");
    return values;
  }

  WeightMatrix next_matrix() {
    const PlannedTensor& part = parts_[part_++];
    const packed::MatrixFormat& format = header_.formats[matrix_++];
    WeightMatrix matrix;
    matrix.rows = part.rows;
    matrix.cols = part.cols;
    matrix.form = format.form;
    if (format.form == WeightForm::kBf16) {
      matrix.bf16 = next<Bf16>();
    } else {
      bind_codes(format, matrix);
    }
    tell(part, packed::form_text(format, part.cols));
    return matrix;
  }

  std::vector<PackedModel::PartInfo> take_infos() { return std::move(infos_); }

 private:
  template <class T>
  const T* next() {
    const PlacedSection& section = header_.sections[section_++];
    bytes_ += section.bytes;
    return reinterpret_cast<const T*>(file_.data() + section.offset);  // NOLINT: aligned to 64
  }

  // In the order of packed::sections_of.
  void bind_codes(const packed::MatrixFormat& format, WeightMatrix& matrix) {
    matrix.book = format.book;
    matrix.group = format.group;
    matrix.codes = next<std::uint8_t>();
    if (format.nested) {
      matrix.absmax_codes = next<std::uint8_t>();
      matrix.absmax_scales = next<float>();
      matrix.absmax_offset = *next<float>();
    } else {
      matrix.scales = next<float>();
    }
    if (format.offsets) matrix.offsets = next<float>();
    if (format.order) matrix.order = next<std::int32_t>();
  }

  void tell(const PlannedTensor& part, std::string form) {
    infos_.push_back({.name = part.section,
                      .form = std::move(form),
                      .rows = part.rows,
                      .cols = part.cols,
                      .bytes = std::exchange(bytes_, 0)});
  }

  const Header& header_;
  std::span<const std::byte> file_;
  std::vector<PlannedTensor> parts_;
  std::vector<PackedModel::PartInfo> infos_;
  std::size_t part_ = 0;
  std::size_t matrix_ = 0;
  std::size_t section_ = 0;
  std::size_t bytes_ = 0;  // of the part at hand
};

void bind_norms(const LayerSpec& layer, PartCursor& cursor, LayerWeights& weights) {
  if (layer.pre_norms) {
    weights.attention_norm = cursor.next_fp32();
    weights.mlp_norm = cursor.next_fp32();
  }
  if (layer.post_norms) {
    weights.post_attention_norm = cursor.next_fp32();
    weights.post_mlp_norm = cursor.next_fp32();
  }
  if (layer.qk_norm != QkNorm::kNone) {
    weights.q_norm = cursor.next_fp32();
    weights.k_norm = cursor.next_fp32();
  }
}

LayerWeights bind_layer(const ModelSpec& spec, const LayerSpec& layer, PartCursor& cursor) {
  LayerWeights weights;
  bind_norms(layer, cursor, weights);
  for (std::size_t i = 0; i < kAllLinears.size(); ++i) {
    if (layer.experts && kAllLinears[i] >= Linear::kGate) continue;
    weights.linears[i] = cursor.next_matrix();
    if (layer.has_bias(kAllLinears[i])) weights.biases[i] = cursor.next_fp32();
  }
  if (!layer.experts) return weights;
  weights.router = cursor.next_fp32();
  weights.experts.resize(static_cast<std::size_t>(spec.num_experts));
  for (ExpertWeights& expert : weights.experts) {
    for (WeightMatrix& matrix : expert) matrix = cursor.next_matrix();
  }
  return weights;
}

ModelWeights bind_weights(const ModelSpec& spec, PartCursor& cursor) {
  ModelWeights weights;
  weights.spec = spec;
  weights.embedding = cursor.next_matrix();
  for (const LayerSpec& layer : spec.layers) {
    weights.layers.push_back(bind_layer(spec, layer, cursor));
  }
  weights.final_norm = cursor.next_fp32();
  weights.head = spec.tied_embeddings ? weights.embedding : cursor.next_matrix();
  return weights;
}

}  // namespace

Result<std::unique_ptr<PackedModel>> PackedModel::open(const std::filesystem::path& path,
                                                       const OpenOptions& options) {
  auto file = MappedFile::open(path);
  if (!file) return file.error();
  if (options.prefault) file->prefault(options.progress);
  auto header = read_header(file->bytes(), options);
  if (!header) return Error{header.error().code, path.string() + ": " + header.error().message};

  std::unique_ptr<PackedModel> model(new PackedModel(std::move(*file)));
  PartCursor cursor(*header, model->file_.bytes());
  model->weights_ = bind_weights(header->spec, cursor);
  model->parts_ = cursor.take_infos();
  model->info_ = std::move(header->info);
  model->digest_ = header->digest;
  return model;
}

}  // namespace tessera
