// packed_format.hpp — the parts of the packed file that its writer and its reader share.
//
// The format is described in packed_model.hpp. The list of parts (matrices and fp32 vectors) is a
// function of the spec alone, and the list of sections one of the parts and the matrices' forms: a
// writer must write exactly these, and a reader accepts exactly these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/model/packed_model.hpp"
#include "engine/model/tensor_plan.hpp"
#include "kernels/model_spec.hpp"
#include "kernels/weight_matrix.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera::packed {

inline constexpr std::size_t kAlignment = 64;
inline constexpr std::array<char, 8> kMagic = {'T', 'E', 'S', 'S', 'E', 'R', 'A', '\x02'};

// The first 64 bytes, little-endian as on every machine we run on.
struct Prologue {
  std::array<char, 8> magic = kMagic;
  std::uint64_t header_offset = 0;
  std::uint64_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::array<std::uint8_t, 32> header_sha256 = {};
};
static_assert(sizeof(Prologue) == kAlignment);

// The parts of a file are planned_sections(spec) (tensor_plan.hpp): matrices, which have forms, and
// fp32 vectors and tables.
inline bool is_matrix(const PlannedTensor& part) {
  return part.role != TensorRole::kFp32;
}

// The form of a matrix without its shape and its contents.
struct MatrixFormat {
  WeightForm form = WeightForm::kBf16;
  std::array<float, 16> book = {};  // kBook16, else zeros
  int group = 0;                    // 0 for kBf16
  bool nested = false;              // scales as 8-bit codes
  bool offsets = false;
  bool order = false;

  bool operator==(const MatrixFormat&) const = default;
};

MatrixFormat format_of(const WeightMatrix& matrix);

// Errors: kCorrupt if no matrix of `part`'s shape can have this format.
Result<void> check_format(const MatrixFormat& format, const PlannedTensor& part);

// "nf4 (double-quantised)", "int4 in groups of 128 with zero points", "int8 per row", "bf16".
std::string form_text(const MatrixFormat& format, int cols);

// What a model's matrices are in, for people: "nf4 (double-quantised), embeddings bf16". The
// formats are those of the matrices among `parts`.
std::string quantization_text(const std::vector<PlannedTensor>& parts,
                              const std::vector<MatrixFormat>& formats);

struct Section {
  std::string name;  // "layers.3.q_proj.codes"
  std::size_t bytes = 0;
};

// A section as it lies in a file.
struct PlacedSection {
  std::string name;
  std::size_t bytes = 0;
  std::size_t offset = 0;
  std::array<std::uint8_t, 32> sha256 = {};
};

// The sections of one part, in file order. `format` is read if the part is a matrix; checked.
std::vector<Section> sections_of(const PlannedTensor& part, const MatrixFormat& format);

// The two as they stand in a header. from_json throws what nlohmann's checked access throws, and
// std::logic_error for a value that cannot be; nothing is checked against a part.
nlohmann::ordered_json format_to_json(const MatrixFormat& format);
MatrixFormat format_from_json(const nlohmann::ordered_json& node);
nlohmann::ordered_json section_to_json(const PlacedSection& section);
PlacedSection section_from_json(const nlohmann::ordered_json& node);

struct Header {
  ModelSpec spec;
  ModelInfo info;
  BaseDigest digest;
  std::vector<MatrixFormat> formats;  // of the matrices, in the order of the parts
  std::vector<PlacedSection> sections;
};

// The base's identity: SHA-256 over the spec, the matrices' formats and every section's name and
// SHA-256. The header's other members play no part in it.
BaseDigest base_digest(const Header& header);

std::string header_text(const Header& header);

// Errors: kCorrupt if `text` is not a header; nothing about places and sizes is checked but types.
Result<Header> parse_header(std::string_view text);

}  // namespace tessera::packed
