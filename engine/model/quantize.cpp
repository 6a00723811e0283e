#include "engine/model/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "adapters/safetensors.hpp"
#include "engine/model/model_source.hpp"
#include "engine/model/packed_writer.hpp"
#include "engine/model/tensor_plan.hpp"
#include "kernels/weight_buffers.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kChunkWeights = std::int64_t{1} << 20;  // read in fp32 at a time

Error about(const PlannedTensor& planned, const Error& error) {
  return {error.code, "tensor " + planned.tensor + ": " + error.message, error.param};
}

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

Error not_finite() {
  return {Code::kCorrupt, "it has a value that is not a finite number"};
}

// Every tensor's slices must be as wide as it is and add up to its rows.
Result<void> check_shapes(const ModelSource& source, const std::vector<PlannedTensor>& plan) {
  std::map<std::string_view, std::int64_t> rows;
  for (const PlannedTensor& planned : plan) rows[planned.tensor] += planned.rows;
  for (const PlannedTensor& planned : plan) {
    const TensorSource& tensor = *source.find(planned.tensor);
    if (tensor.cols() == planned.cols && tensor.rows() == rows[planned.tensor]) continue;
    std::vector<std::int64_t> asked = {rows[planned.tensor], planned.cols};
    if (asked[0] == 1) asked.erase(asked.begin());
    return Error{Code::kCorrupt, "tensor " + planned.tensor + " has shape " +
                                     shape_text(tensor.shape()) + ", and config.json asks for " +
                                     shape_text(asked)};
  }
  return {};
}

// Whether a tensor is a bias that adds nothing: some tools save one with every linear.
bool is_zero_bias(const std::string& name, const TensorSource& tensor) {
  if (!name.ends_with(".bias") || tensor.shape().size() != 1 || tensor.cols() > kChunkWeights) {
    return false;
  }
  std::vector<float> values(static_cast<std::size_t>(tensor.cols()));
  if (!tensor.read(0, values)) return false;
  return std::ranges::all_of(values, [](float value) { return value == 0.0F; });
}

// A tensor that the model would not use is a sign of an architecture we have misread; except what
// is known to be surplus.
Result<void> check_all_planned(const ModelSource& source, const std::vector<PlannedTensor>& plan) {
  std::set<std::string_view> planned;
  for (const PlannedTensor& tensor : plan) planned.insert(tensor.tensor);
  for (const auto& [name, tensor] : source.tensors()) {
    if (planned.contains(name) || is_surplus(source.spec(), name) || is_zero_bias(name, *tensor)) {
      continue;
    }
    return Error{Code::kUnsupportedModel,
                 "tensor " + name + " has no place in a " + source.info().architecture};
  }
  return {};
}

Result<std::vector<PlannedTensor>> make_plan(const ModelSource& source) {
  const auto has = [&](std::string_view name) { return source.find(name) != nullptr; };
  auto plan = plan_tensors(source.spec(), source.info().architecture, has);
  if (!plan) return plan.error();
  if (auto checked = check_all_planned(source, *plan); !checked) return checked.error();
  if (auto checked = check_shapes(source, *plan); !checked) return checked.error();
  return plan;
}

// Turns one planned tensor after another into what the file has of it.
class Converter {
 public:
  Converter(const ModelSource& source, const std::vector<PlannedTensor>& plan,
            const QuantizeOptions& options)
      : source_(source), options_(options) {
    for (const PlannedTensor& planned : plan) {
      if (planned.role == TensorRole::kLinear) {
        source_is_quantised_ |= source.find(planned.tensor)->is_quantised();
      }
    }
  }

  Result<void> write(const PlannedTensor& planned, packed::Writer& writer) {
    const TensorSource& tensor = *source_.find(planned.tensor);
    if (planned.role == TensorRole::kFp32) return write_values(planned, tensor, writer);
    auto matrix = matrix_of(planned, tensor);
    if (!matrix) return about(planned, matrix.error());
    note(planned, tensor, *matrix);
    const auto written = writer.add_matrix(planned.section, matrix->view());
    source_.release(tensor);
    return written;
  }

  std::vector<QuantizeGroup> groups() const { return groups_; }

 private:
  // What the user wants the matrix in, if it is for them to say.
  std::optional<QuantForm> asked_for(const PlannedTensor& planned) const {
    if (planned.role == TensorRole::kLinear) return std::nullopt;
    return planned.section == "head" ? options_.head : options_.embedding;
  }

  QuantForm form_for(const PlannedTensor& planned, const TensorSource& tensor) const {
    if (planned.role == TensorRole::kTable) return asked_for(planned).value_or(QuantForm::kBf16);
    const bool left_alone = source_is_quantised_ && !tensor.is_quantised();
    return left_alone ? QuantForm::kBf16 : options_.linears;
  }

  Result<WeightBuffers> matrix_of(const PlannedTensor& planned, const TensorSource& tensor) {
    taken_ = false;
    if (!asked_for(planned)) {
      if (auto taken = tensor.take(planned.first_row, planned.rows)) {
        taken_ = true;
        return check_taken(std::move(*taken));
      }
    }
    return requantise(planned, tensor);
  }

  static Result<WeightBuffers> check_taken(WeightBuffers matrix) {
    if (!all_finite(matrix.scales) || !all_finite(matrix.offsets) || !all_finite(matrix.book) ||
        !all_finite(matrix.absmax_scales) || !std::isfinite(matrix.absmax_offset)) {
      return not_finite();
    }
    return matrix;
  }

  Result<WeightBuffers> requantise(const PlannedTensor& planned, const TensorSource& tensor) {
    MatrixQuantizer quantizer(form_for(planned, tensor), planned.rows, planned.cols);
    const std::int64_t step = std::max<std::int64_t>(kChunkWeights / planned.cols, 1);
    for (std::int64_t row = 0; row < planned.rows; row += step) {
      const std::int64_t rows = std::min<std::int64_t>(step, planned.rows - row);
      auto values = read(planned, tensor, row, rows);
      if (!values) return values.error();
      quantizer.add_rows(*values);
      source_.release(tensor);
    }
    return quantizer.finish();
  }

  Result<void> write_values(const PlannedTensor& planned, const TensorSource& tensor,
                            packed::Writer& writer) {
    auto values = read(planned, tensor, 0, planned.rows);
    if (!values) return about(planned, values.error());
    return writer.add_values(planned.section, *values);
  }

  Result<std::vector<float>> read(const PlannedTensor& planned, const TensorSource& tensor,
                                  std::int64_t row, std::int64_t rows) const {
    std::vector<float> values(static_cast<std::size_t>(rows * planned.cols));
    if (auto read = tensor.read(planned.first_row + row, values); !read) return read.error();
    if (!all_finite(values)) return not_finite();
    if (planned.add != 0.0F && !source_.norms_are_whole()) {
      for (float& value : values) value += planned.add;
    }
    return values;
  }

  void note(const PlannedTensor& planned, const TensorSource& tensor, const WeightBuffers& matrix) {
    const std::string to = packed::form_text(packed::format_of(matrix.view()), planned.cols);
    const std::string from = tensor.form();
    auto group = std::ranges::find_if(groups_, [&](const QuantizeGroup& candidate) {
      return candidate.from == from && candidate.to == to && candidate.unchanged == taken_;
    });
    if (group == groups_.end()) {
      group =
          groups_.insert(groups_.end(), QuantizeGroup{.from = from, .to = to, .unchanged = taken_});
    }
    ++group->matrices;
    group->weights +=
        static_cast<std::uintmax_t>(planned.rows) * static_cast<std::uintmax_t>(planned.cols);
  }

  const ModelSource& source_;
  const QuantizeOptions& options_;
  bool source_is_quantised_ = false;
  bool taken_ = false;  // the matrix at hand has its codes unchanged
  std::vector<QuantizeGroup> groups_;
};

std::string form_name(std::optional<QuantForm> form) {
  return form ? std::string(to_string(*form)) : std::string("-");
}

// What a run must have in common with an interrupted one to continue it.
std::string key_of(const ModelSource& source, const QuantizeOptions& options) {
  const std::string text = "2\n" + source.fingerprint() + form_name(options.linears) + ' ' +
                           form_name(options.embedding) + ' ' + form_name(options.head);
  return to_hex(sha256(std::as_bytes(std::span(text))));
}

std::string name_of(const std::filesystem::path& path) {
  const auto absolute = std::filesystem::absolute(path).lexically_normal();
  if (std::filesystem::is_regular_file(absolute)) return absolute.stem().string();
  return absolute.has_filename() ? absolute.filename().string()
                                 : absolute.parent_path().filename().string();
}

}  // namespace

Result<QuantizeSummary> quantize_model(
    const std::filesystem::path& source_path, const std::filesystem::path& destination,
    const QuantizeOptions& options, const std::function<void(const QuantizeProgress&)>& progress) {
  auto source = ModelSource::open(source_path);
  if (!source) return source.error();
  auto plan = make_plan(*source);
  if (!plan) return plan.error();
  auto writer = packed::Writer::create(
      destination, source->spec(), {.key = key_of(*source, options), .restart = options.restart});
  if (!writer) return writer.error();

  const std::size_t resumed = (*writer)->parts_done();
  Converter converter(*source, *plan, options);
  QuantizeProgress told{.total = static_cast<int>(plan->size())};
  const auto bytes_of_plan = [&](const PlannedTensor& planned) {
    const TensorSource& tensor = *source->find(planned.tensor);
    return tensor.stored_bytes() * static_cast<std::uintmax_t>(planned.rows) /
           static_cast<std::uintmax_t>(tensor.rows());
  };
  for (const PlannedTensor& planned : *plan) told.bytes_total += bytes_of_plan(planned);
  for (const PlannedTensor& planned : *plan) {
    if (std::cmp_greater_equal(told.done, resumed)) {
      auto written = converter.write(planned, **writer);
      if (!written) return written.error();
    }
    ++told.done;
    told.bytes_done += bytes_of_plan(planned);
    told.tensor = planned.tensor;
    if (progress) progress(told);
  }
  ModelInfo info = source->info();
  if (!options.name.empty()) info.name = options.name;
  if (info.name.empty()) info.name = name_of(source_path);
  auto digest = (*writer)->finish(std::move(info));
  if (!digest) return digest.error();
  return QuantizeSummary{.digest = *digest,
                         .source_bytes = source->weight_bytes(),
                         .packed_bytes = (*writer)->bytes_written(),
                         .groups = converter.groups(),
                         .resumed = static_cast<int>(resumed)};
}

}  // namespace tessera
