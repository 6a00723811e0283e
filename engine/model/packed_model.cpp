#include "engine/model/packed_model.hpp"

#include <cassert>
#include <cstring>
#include <string_view>
#include <utility>

#include "engine/model/model_config.hpp"
#include "engine/model/packed_format.hpp"

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

// The sections must be those of the spec, aligned, and within the file before the header.
Result<void> check_sections(const Header& header, std::size_t end) {
  const std::vector<packed::Section> expected = packed::sections_of(header.spec);
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

Result<void> check_contents(const Header& header, std::span<const std::byte> file) {
  for (const PlacedSection& section : header.sections) {
    if (sha256(file.subspan(section.offset, section.bytes)) != section.sha256) {
      return corrupt("section " + section.name + " is damaged");
    }
  }
  return {};
}

// Reads and checks everything but the file's name.
Result<Header> read_header(std::span<const std::byte> file, Verify verify) {
  auto prologue = read_prologue(file);
  if (!prologue) return prologue.error();
  const auto header_bytes = file.subspan(prologue->header_offset);
  if (sha256(header_bytes) != prologue->header_sha256) return corrupt("its header is damaged");
  std::string text(header_bytes.size(), '\0');
  std::memcpy(text.data(), header_bytes.data(), text.size());

  auto header = packed::parse_header(text);
  if (!header) return header.error();
  if (auto checked = check_spec(header->spec); !checked) return corrupt(checked.error().message);
  if (auto checked = check_sections(*header, prologue->header_offset); !checked) {
    return checked.error();
  }
  if (packed::base_digest(header->spec, header->sections) != header->digest) {
    return corrupt("its digest is not that of its sections");
  }
  if (verify == Verify::kContents) {
    if (auto checked = check_contents(*header, file); !checked) return checked.error();
  }
  return header;
}

// Hands out the sections in file order, which is the order of packed::sections_of.
class SectionCursor {
 public:
  SectionCursor(const Header& header, std::span<const std::byte> file)
      : header_(header), file_(file) {}

  template <class T>
  const T* next([[maybe_unused]] std::string_view name) {
    const PlacedSection& section = header_.sections[index_++];
    assert(section.name.ends_with(name));
    return reinterpret_cast<const T*>(file_.data() + section.offset);  // NOLINT: aligned to 64
  }

  Nf4Matrix next_matrix(LinearShape shape) {
    return {.rows = shape.out_features,
            .cols = shape.in_features,
            .codes = next<std::uint8_t>(".codes"),
            .absmax_codes = next<std::uint8_t>(".absmax_codes"),
            .absmax_scales = next<float>(".absmax_scales"),
            .offset = *next<float>(".absmax_offset")};
  }

 private:
  const Header& header_;
  std::span<const std::byte> file_;
  std::size_t index_ = 0;
};

LayerWeights bind_layer(const ModelSpec& spec, const LayerSpec& layer, SectionCursor& cursor) {
  LayerWeights weights;
  weights.attention_norm = cursor.next<float>("attention_norm");
  weights.mlp_norm = cursor.next<float>("mlp_norm");
  for (std::size_t i = 0; i < kAllLinears.size(); ++i) {
    weights.linears[i] = cursor.next_matrix(spec.shape(kAllLinears[i]));
    if (layer.qkv_bias && i < weights.qkv_bias.size()) {
      weights.qkv_bias[i] = cursor.next<float>(".bias");
    }
  }
  return weights;
}

ModelWeights bind_weights(const Header& header, std::span<const std::byte> file) {
  SectionCursor cursor(header, file);
  ModelWeights weights;
  weights.spec = header.spec;
  weights.embedding = cursor.next<Bf16>("embedding");
  for (const LayerSpec& layer : header.spec.layers) {
    weights.layers.push_back(bind_layer(header.spec, layer, cursor));
  }
  weights.final_norm = cursor.next<float>("final_norm");
  weights.head = header.spec.tied_embeddings ? weights.embedding : cursor.next<Bf16>("head");
  return weights;
}

}  // namespace

Result<std::unique_ptr<PackedModel>> PackedModel::open(const std::filesystem::path& path,
                                                       const OpenOptions& options) {
  auto file = MappedFile::open(path, options.prefault);
  if (!file) return file.error();
  auto header = read_header(file->bytes(), options.verify);
  if (!header) return Error{header.error().code, path.string() + ": " + header.error().message};

  std::unique_ptr<PackedModel> model(new PackedModel(std::move(*file)));
  model->weights_ = bind_weights(*header, model->file_.bytes());
  model->info_ = std::move(header->info);
  model->digest_ = header->digest;
  return model;
}

}  // namespace tessera
