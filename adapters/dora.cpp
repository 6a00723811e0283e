#include "adapters/dora.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <span>

#include "adapters/base_rows.hpp"

namespace tessera {
namespace {

// values += sum over j of factors[j] * rows[j], four rows at a time; rows are (factors, values).
void add_rows(std::span<const float> factors, const float* rows, std::span<float> values) {
  const std::size_t width = values.size();
  std::size_t j = 0;
  for (; j + 4 <= factors.size(); j += 4) {
    const float* row = rows + j * width;
    const float f0 = factors[j];
    const float f1 = factors[j + 1];
    const float f2 = factors[j + 2];
    const float f3 = factors[j + 3];
    for (std::size_t k = 0; k < width; ++k) {
      values[k] +=
          f0 * row[k] + f1 * row[width + k] + f2 * row[2 * width + k] + f3 * row[3 * width + k];
    }
  }
  for (; j < factors.size(); ++j) {
    for (std::size_t k = 0; k < width; ++k) values[k] += factors[j] * rows[j * width + k];
  }
}

// In eight lanes, which compilers make vectors of.
double sum_of_squares(std::span<const float> values) {
  std::array<double, 8> lanes = {};
  std::size_t k = 0;
  for (; k + lanes.size() <= values.size(); k += lanes.size()) {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      const auto value = static_cast<double>(values[k + i]);
      lanes[i] += value * value;
    }
  }
  double sum = 0.0;
  for (; k < values.size(); ++k) {
    sum += static_cast<double>(values[k]) * static_cast<double>(values[k]);
  }
  for (const double lane : lanes) sum += lane;
  return sum;
}

// The rows of W, or what the adapter has in their place.
class Rows {
 public:
  Rows(const AdapterModule& module, const ModelWeights& weights, const AdapterRows& replaced)
      : base_(weights, module.base), replaced_(replaced) {}

  int rows() const { return base_.rows(); }
  int cols() const { return base_.cols(); }

  void read(int row, std::span<float> values) const {
    const auto at = std::ranges::lower_bound(replaced_.ids, row);
    if (at == replaced_.ids.end() || *at != row) return base_.read(row, values);
    const auto first = (at - replaced_.ids.begin()) * static_cast<std::ptrdiff_t>(values.size());
    std::copy_n(replaced_.rows.begin() + first, values.size(), values.begin());
  }

 private:
  BaseRows base_;
  const AdapterRows& replaced_;
};

std::vector<float> norms_by_row(const AdapterModule& module, const Rows& base) {
  const auto rank = static_cast<std::size_t>(module.rank);
  std::vector<float> norms;
  std::vector<float> row(static_cast<std::size_t>(base.cols()));
  std::vector<float> factors(rank);
  for (int n = 0; n < base.rows(); ++n) {
    base.read(n, row);
    const float* b = module.b.data() + static_cast<std::size_t>(n) * rank;
    for (std::size_t j = 0; j < rank; ++j) factors[j] = module.scale * b[j];
    add_rows(factors, module.a.data(), row);
    norms.push_back(static_cast<float>(std::sqrt(sum_of_squares(row))));
  }
  return norms;
}

// The embedding's table is the transpose of a linear's matrix: row t is column t of B A, (hidden,).
std::vector<float> norms_by_column(const AdapterModule& module, const Rows& base) {
  const auto rank = static_cast<std::size_t>(module.rank);
  const auto hidden = static_cast<std::size_t>(base.cols());
  std::vector<float> columns(rank * hidden);  // of B
  for (std::size_t n = 0; n < hidden; ++n) {
    for (std::size_t j = 0; j < rank; ++j) columns[j * hidden + n] = module.b[n * rank + j];
  }
  std::vector<double> sums(hidden);
  std::vector<float> row(hidden);
  std::vector<float> factors(rank);
  const auto vocab = static_cast<std::size_t>(base.rows());
  for (std::size_t token = 0; token < vocab; ++token) {
    base.read(static_cast<int>(token), row);
    for (std::size_t j = 0; j < rank; ++j) factors[j] = module.scale * module.a[j * vocab + token];
    add_rows(factors, columns.data(), row);
    for (std::size_t n = 0; n < hidden; ++n) {
      sums[n] += static_cast<double>(row[n]) * static_cast<double>(row[n]);
    }
  }
  std::vector<float> norms;
  for (const double sum : sums) norms.push_back(static_cast<float>(std::sqrt(sum)));
  return norms;
}

}  // namespace

std::vector<float> dora_norms(const AdapterModule& module, const ModelWeights& weights,
                              const AdapterRows& replaced) {
  const Rows rows(module, weights, replaced);
  return module.base.kind == ModuleKind::kEmbed ? norms_by_column(module, rows)
                                                : norms_by_row(module, rows);
}

void set_out_scale(AdapterModule& module, const ModelWeights& weights,
                   const AdapterRows& replaced) {
  module.out_scale = dora_norms(module, weights, replaced);
  assert(module.out_scale.size() == module.magnitude.size());
  for (std::size_t n = 0; n < module.out_scale.size(); ++n) {
    module.out_scale[n] = module.magnitude[n] / module.out_scale[n];
  }
}

}  // namespace tessera
