#include "engine/model/packed_format.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "kernels/quantisers.hpp"
#include "kernels/weight_buffers.hpp"

namespace tessera::packed {
namespace {

std::size_t count_of(const PlannedTensor& part) {
  return static_cast<std::size_t>(part.rows) * static_cast<std::size_t>(part.cols);
}

// What a table of sixteen values is called.
std::string book_name(const std::array<float, 16>& book) {
  if (book == kNf4Values) return "nf4";
  if (book == kFp4Values) return "fp4";
  return book == kSignedInt4Values || book == kInt4Values ? "int4" : "4-bit table";
}

// The forms of the matrices that `is_meant` picks, the most common first.
template <class IsMeant>
std::string forms_text(const std::vector<PlannedTensor>& parts,
                       const std::vector<MatrixFormat>& formats, IsMeant is_meant) {
  std::vector<std::pair<std::string, std::size_t>> found;
  std::size_t matrix = 0;
  for (const PlannedTensor& part : parts) {
    if (!is_matrix(part)) continue;
    const std::string text = form_text(formats[matrix++], part.cols);
    if (!is_meant(part)) continue;
    auto at = std::ranges::find(found, text, &std::pair<std::string, std::size_t>::first);
    if (at == found.end()) at = found.insert(found.end(), {text, 0});
    at->second += count_of(part);
  }
  std::ranges::stable_sort(found, std::greater(), &std::pair<std::string, std::size_t>::second);
  std::string all;
  for (const auto& [text, weights] : found) all += (all.empty() ? "" : " and ") + text;
  return all;
}

}  // namespace

std::string form_text(const MatrixFormat& format, int cols) {
  if (format.form == WeightForm::kBf16) return "bf16";
  const bool int8 = format.form == WeightForm::kInt8;
  std::string text = int8 ? "int8" : book_name(format.book);
  const bool usual = format.group == kNf4Block && (text == "nf4" || text == "fp4");
  if (format.group == cols) {
    text += " per row";
  } else if (!usual) {
    text += " in groups of " + std::to_string(format.group);
  }
  if (format.offsets) text += " with zero points";
  if (format.order) text += " in act-order";
  if (format.nested) text += " (double-quantised)";
  return text;
}

std::string quantization_text(const std::vector<PlannedTensor>& parts,
                              const std::vector<MatrixFormat>& formats) {
  const auto forms_of = [&](auto is_meant) { return forms_text(parts, formats, is_meant); };
  const auto named = [](const char* name) {
    return [name](const PlannedTensor& part) { return part.section == name; };
  };
  std::string text =
      forms_of([](const PlannedTensor& part) { return part.role == TensorRole::kLinear; });
  const std::string embedding = forms_of(named("embedding"));
  const std::string head = forms_of(named("head"));
  text += ", embeddings " + embedding;
  if (!head.empty() && head != embedding) text += ", head " + head;
  return text;
}

MatrixFormat format_of(const WeightMatrix& matrix) {
  MatrixFormat format;
  format.form = matrix.form;
  if (matrix.form == WeightForm::kBf16) return format;
  if (matrix.form == WeightForm::kBook16) format.book = matrix.book;
  format.group = matrix.group;
  format.nested = matrix.scales == nullptr;
  format.offsets = matrix.offsets != nullptr;
  format.order = matrix.order != nullptr;
  return format;
}

Result<void> check_format(const MatrixFormat& format, const PlannedTensor& part) {
  if (format.form == WeightForm::kBf16) {
    if (format == MatrixFormat{}) return {};
  } else if (is_group(format.group, part.cols) &&
             std::ranges::all_of(format.book, [](float value) { return std::isfinite(value); })) {
    return {};
  }
  return Error{Code::kCorrupt, "matrix " + part.section + " is in a form that it cannot have"};
}

std::vector<Section> sections_of(const PlannedTensor& part, const MatrixFormat& format) {
  const std::size_t count = count_of(part);
  if (!is_matrix(part)) return {{part.section, count * sizeof(float)}};
  if (format.form == WeightForm::kBf16) return {{part.section, count * sizeof(Bf16)}};
  const std::size_t groups = count / static_cast<std::size_t>(format.group);
  std::vector<Section> out;
  out.push_back({part.section + ".codes", format.form == WeightForm::kInt8 ? count : count / 2});
  if (format.nested) {
    out.push_back({part.section + ".absmax_codes", groups});
    out.push_back({part.section + ".absmax_scales",
                   (groups + kAbsmaxBlock - 1) / kAbsmaxBlock * sizeof(float)});
    out.push_back({part.section + ".absmax_offset", sizeof(float)});
  } else {
    out.push_back({part.section + ".scales", groups * sizeof(float)});
  }
  if (format.offsets) out.push_back({part.section + ".offsets", groups * sizeof(float)});
  if (format.order) {
    out.push_back(
        {part.section + ".order", static_cast<std::size_t>(part.cols) * sizeof(std::int32_t)});
  }
  return out;
}

}  // namespace tessera::packed
