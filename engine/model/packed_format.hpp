// packed_format.hpp — the parts of the packed file that its writer and its reader share.
//
// The format is described in packed_model.hpp. The list of sections is a function of the spec
// alone: a writer must write exactly these, and a reader accepts exactly these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/model/packed_model.hpp"
#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera::packed {

inline constexpr std::size_t kAlignment = 64;
inline constexpr std::array<char, 8> kMagic = {'T', 'E', 'S', 'S', 'E', 'R', 'A', '\x01'};

// The first 64 bytes, little-endian as on every machine we run on.
struct Prologue {
  std::array<char, 8> magic = kMagic;
  std::uint64_t header_offset = 0;
  std::uint64_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::array<std::uint8_t, 32> header_sha256 = {};
};
static_assert(sizeof(Prologue) == kAlignment);

struct Section {
  std::string name;
  std::size_t bytes = 0;
};

// A section as it lies in a file.
struct PlacedSection {
  std::string name;
  std::size_t bytes = 0;
  std::size_t offset = 0;
  std::array<std::uint8_t, 32> sha256 = {};
};

// Every section of a model of this spec, in file order.
std::vector<Section> sections_of(const ModelSpec& spec);

// Whether that matrix of the layer has a bias.
bool has_bias(const LayerSpec& layer, Linear linear);

std::string layer_name(int layer, std::string_view part);  // "layers.3.q_proj"

// The base's identity: SHA-256 over the spec and every section's name and SHA-256.
BaseDigest base_digest(const ModelSpec& spec, const std::vector<PlacedSection>& sections);

struct Header {
  ModelSpec spec;
  ModelInfo info;
  BaseDigest digest;
  std::vector<PlacedSection> sections;
};

std::string header_text(const Header& header);

// Errors: kCorrupt if `text` is not a header; nothing about places and sizes is checked but types.
Result<Header> parse_header(std::string_view text);

}  // namespace tessera::packed
