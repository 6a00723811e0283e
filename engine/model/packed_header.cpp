// packed_header.cpp — the header of a packed file as text, and the identity that is made of it.
#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/model/packed_format.hpp"
#include "engine/model/spec_json.hpp"
#include "storage/json.hpp"

namespace tessera::packed {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonLimits kHeaderLimits{
    .max_bytes = std::size_t{512} << 20, .max_depth = 8, .max_values = 4'000'000};

constexpr std::pair<WeightForm, std::string_view> kForms[] = {
    {WeightForm::kBf16, "bf16"}, {WeightForm::kBook16, "book16"}, {WeightForm::kInt8, "int8"}};

Json info_json(const ModelInfo& info) {
  return {{"name", info.name},
          {"architecture", info.architecture},
          {"source_format", info.source_format},
          {"quantization", info.quantization},
          {"config", info.config},
          {"generation_config", info.generation_config},
          {"tokenizer", info.tokenizer},
          {"tokenizer_config", info.tokenizer_config},
          {"chat_template", info.chat_template},
          {"bos_token", info.bos_token},
          {"eos_token", info.eos_token},
          {"eos_ids", info.eos_ids}};
}

// The readers below use nlohmann's checked access, which throws on a missing member or a wrong
// type; parse_header turns that into kCorrupt.
ModelInfo read_info(const Json& node) {
  const auto text = [&node](const char* name) { return node.at(name).get<std::string>(); };
  return {.name = text("name"),
          .architecture = text("architecture"),
          .source_format = text("source_format"),
          .quantization = text("quantization"),
          .config = text("config"),
          .generation_config = text("generation_config"),
          .tokenizer = text("tokenizer"),
          .tokenizer_config = text("tokenizer_config"),
          .chat_template = text("chat_template"),
          .bos_token = text("bos_token"),
          .eos_token = text("eos_token"),
          .eos_ids = node.at("eos_ids").get<std::vector<TokenId>>()};
}

// Formats that are alike are written once: "formats" lists the kinds, "matrix_formats" the kind of
// each matrix, in the order of the parts.
void add_formats(const std::vector<MatrixFormat>& formats, Json& node) {
  std::vector<MatrixFormat> kinds;
  Json kind_of_matrix = Json::array();
  for (const MatrixFormat& format : formats) {
    auto found = std::ranges::find(kinds, format);
    if (found == kinds.end()) found = kinds.insert(kinds.end(), format);
    kind_of_matrix.push_back(found - kinds.begin());
  }
  node["formats"] = Json::array();
  for (const MatrixFormat& kind : kinds) node["formats"].push_back(format_to_json(kind));
  node["matrix_formats"] = std::move(kind_of_matrix);
}

std::vector<MatrixFormat> read_formats(const Json& node) {
  std::vector<MatrixFormat> kinds;
  for (const Json& kind : node.at("formats")) kinds.push_back(format_from_json(kind));
  std::vector<MatrixFormat> formats;
  for (const Json& kind : node.at("matrix_formats")) {
    formats.push_back(kinds.at(kind.get<std::size_t>()));
  }
  return formats;
}

}  // namespace

PlacedSection section_from_json(const Json& node) {
  const auto sha256 = digest_from_hex(node.at("sha256").get<std::string>());
  if (!sha256) throw std::invalid_argument("a section's sha256 is not a digest");
  return {.name = node.at("name").get<std::string>(),
          .bytes = node.at("bytes").get<std::size_t>(),
          .offset = node.at("offset").get<std::size_t>(),
          .sha256 = *sha256};
}

Json section_to_json(const PlacedSection& section) {
  return {{"name", section.name},
          {"offset", section.offset},
          {"bytes", section.bytes},
          {"sha256", to_hex(section.sha256)}};
}

Json format_to_json(const MatrixFormat& format) {
  const auto form =
      std::ranges::find(kForms, format.form, &std::pair<WeightForm, std::string_view>::first);
  Json node = {{"form", form->second}};
  if (format.form == WeightForm::kBf16) return node;
  if (format.form == WeightForm::kBook16) node["book"] = format.book;
  node["group"] = format.group;
  node["nested"] = format.nested;
  node["offsets"] = format.offsets;
  node["order"] = format.order;
  return node;
}

MatrixFormat format_from_json(const Json& node) {
  const auto& name = node.at("form").get_ref<const std::string&>();
  const auto form =
      std::ranges::find(kForms, name, &std::pair<WeightForm, std::string_view>::second);
  if (form == std::end(kForms)) throw std::out_of_range("it has a matrix in an unknown form");
  MatrixFormat format;
  format.form = form->first;
  if (format.form == WeightForm::kBf16) return format;
  if (format.form == WeightForm::kBook16) {
    const auto book = node.at("book").get<std::vector<float>>();
    if (book.size() != format.book.size()) throw std::out_of_range("a book has not 16 values");
    std::ranges::copy(book, format.book.begin());
  }
  format.group = node.at("group").get<int>();
  format.nested = node.at("nested").get<bool>();
  format.offsets = node.at("offsets").get<bool>();
  format.order = node.at("order").get<bool>();
  return format;
}

BaseDigest base_digest(const Header& header) {
  Json formats = Json::object();
  add_formats(header.formats, formats);
  Sha256 sha256;
  sha256.update(to_text(spec_to_json(header.spec)) + '\n' + to_text(formats));
  for (const PlacedSection& section : header.sections) {
    sha256.update('\n' + section.name + ' ' + to_hex(section.sha256));
  }
  return {sha256.finish()};
}

std::string header_text(const Header& header) {
  Json sections = Json::array();
  for (const PlacedSection& section : header.sections) {
    sections.push_back(section_to_json(section));
  }
  Json node = {{"spec", spec_to_json(header.spec)},
               {"info", info_json(header.info)},
               {"digest", to_hex(header.digest)}};
  add_formats(header.formats, node);
  node["sections"] = std::move(sections);
  return to_text(node);
}

Result<Header> parse_header(std::string_view text) {
  auto parsed = parse_json(text, kHeaderLimits);
  if (!parsed) return Error{Code::kCorrupt, "its header is damaged: " + parsed.error().message};
  try {
    Header header;
    header.spec = spec_from_json(parsed->at("spec"));
    header.info = read_info(parsed->at("info"));
    const auto digest = digest_from_hex(parsed->at("digest").get<std::string>());
    if (!digest) return Error{Code::kCorrupt, "its digest is not one"};
    header.digest.bytes = *digest;
    header.formats = read_formats(*parsed);
    for (const Json& section : parsed->at("sections")) {
      header.sections.push_back(section_from_json(section));
    }
    return header;
  } catch (const std::exception& failure) {
    return Error{Code::kCorrupt, std::string("its header is damaged: ") + failure.what()};
  }
}

}  // namespace tessera::packed
