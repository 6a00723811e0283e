#include "adapters/balanced_pair.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

constexpr std::size_t kProbes = 4;
// Rows of A this much shorter than they were depend on the ones before them.
constexpr double kDependent = 1e-12;

using Probes = std::array<double, kProbes>;

// Bits of splitmix64: signs that are no module's own pattern.
std::uint64_t bits_of(std::uint64_t i) {
  std::uint64_t z = (i + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

// A block at a time: within one nothing is decided, so a vector unit takes it side by side.
bool is_exact(std::span<const float> values, float scale) {
  constexpr std::size_t kBlock = 1024;
  for (; !values.empty(); values = values.subspan(std::min(kBlock, values.size()))) {
    std::uint32_t lost = 0;
    for (const float value : values.first(std::min(kBlock, values.size()))) {
      const float scaled = scale * value;
      lost |= bf16_to_float(float_to_bf16(scaled)) == scaled ? 0U : 1U;
    }
    if (lost != 0) return false;
  }
  return true;
}

struct Shape {
  explicit Shape(const AdapterModule& module)
      : in(static_cast<std::size_t>(module.base.shape.in_features)),
        out(static_cast<std::size_t>(module.base.shape.out_features)),
        rank(static_cast<std::size_t>(module.rank)) {}

  std::size_t in, out, rank;
};

// A times each of the probes, (rank,); and the squares of the rows' norms.
std::vector<Probes> times_probes(const AdapterModule& module, const Shape& shape,
                                 std::vector<double>& squares) {
  std::vector<std::uint64_t> signs(shape.in);
  for (std::size_t k = 0; k < shape.in; ++k) signs[k] = bits_of(k);
  std::vector<Probes> products(shape.rank);
  for (std::size_t r = 0; r < shape.rank; ++r) {
    const float* const row = module.a.data() + r * shape.in;
    for (std::size_t k = 0; k < shape.in; ++k) {
      const auto value = static_cast<double>(row[k]);
      squares[r] += value * value;
      for (std::size_t p = 0; p < kProbes; ++p) {
        products[r][p] += (signs[k] >> p & 1U) != 0 ? value : -value;
      }
    }
  }
  return products;
}

// Orthonormal rows in place of those of `q` (rank, in), and the L (rank, rank) of q = L Q. Modified
// Gram-Schmidt, each row twice, which is as orthogonal as doubles allow. A row that depends on the
// ones before it becomes zero.
std::vector<double> decompose(std::vector<double>& q, const Shape& shape) {
  const std::size_t n = shape.rank;
  std::vector<double> l(n * n);
  const auto dot = [&](const double* x, const double* y) {
    std::array<double, 8> lanes{};
    std::size_t k = 0;
    for (; k + lanes.size() <= shape.in; k += lanes.size()) {
      for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] += x[k + i] * y[k + i];
    }
    for (; k < shape.in; ++k) lanes[0] += x[k] * y[k];
    double sum = 0.0;
    for (const double lane : lanes) sum += lane;
    return sum;
  };
  for (std::size_t i = 0; i < n; ++i) {
    double* const row = q.data() + i * shape.in;
    const double before = std::sqrt(dot(row, row));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < i; ++j) {
        const double* const other = q.data() + j * shape.in;
        const double part = dot(row, other);
        l[i * n + j] += part;
        for (std::size_t k = 0; k < shape.in; ++k) row[k] -= part * other[k];
      }
    }
    const double norm = std::sqrt(dot(row, row));
    const bool depends = norm <= kDependent * before;
    l[i * n + i] = depends ? 0.0 : norm;
    for (std::size_t k = 0; k < shape.in; ++k) row[k] = depends ? 0.0 : row[k] / norm;
  }
  return l;
}

// scale * B L
std::vector<float> product(const AdapterModule& module, const std::vector<double>& l,
                           const Shape& shape) {
  std::vector<float> result(shape.out * shape.rank);
  std::vector<double> sums(shape.rank);
  for (std::size_t n = 0; n < shape.out; ++n) {
    std::ranges::fill(sums, 0.0);
    for (std::size_t i = 0; i < shape.rank; ++i) {
      const auto factor =
          static_cast<double>(module.scale) * static_cast<double>(module.b[n * shape.rank + i]);
      for (std::size_t j = 0; j <= i; ++j) sums[j] += factor * l[i * shape.rank + j];
    }
    std::ranges::transform(sums, result.begin() + static_cast<std::ptrdiff_t>(n * shape.rank),
                           [](double sum) { return static_cast<float>(sum); });
  }
  return result;
}

}  // namespace

double cancellation(const AdapterModule& module) {
  const Shape shape(module);
  if (shape.rank < 2) return 1.0;
  std::vector<double> a_squares(shape.rank);
  std::vector<double> b_squares(shape.rank);
  const std::vector<Probes> x = times_probes(module, shape, a_squares);
  double whole = 0.0;
  for (std::size_t n = 0; n < shape.out; ++n) {
    Probes y{};
    for (std::size_t r = 0; r < shape.rank; ++r) {
      const auto value = static_cast<double>(module.b[n * shape.rank + r]);
      b_squares[r] += value * value;
      for (std::size_t p = 0; p < kProbes; ++p) y[p] += value * x[r][p];
    }
    for (const double value : y) whole += value * value / double{kProbes};
  }
  double parts = 0.0;
  for (std::size_t r = 0; r < shape.rank; ++r) parts += a_squares[r] * b_squares[r];
  return whole > 0.0 ? std::sqrt(parts / whole) : 1.0;
}

std::optional<AdapterModule> balanced_pair(const AdapterModule& module, std::uint64_t& work_left) {
  const Shape shape(module);
  const std::uint64_t work = std::uint64_t{shape.in} * shape.rank * shape.rank;
  if (shape.rank < 2 || work > work_left) return std::nullopt;
  if (is_exact(module.a, 1.0F) && is_exact(module.b, module.scale)) return std::nullopt;
  if (cancellation(module) <= kMaxCancellation) return std::nullopt;
  work_left -= work;
  std::vector<double> q(module.a.begin(), module.a.end());
  const std::vector<double> l = decompose(q, shape);
  AdapterModule pair{.base = module.base, .rank = module.rank, .scale = 1.0F};
  pair.a.assign(q.begin(), q.end());
  pair.b = product(module, l, shape);
  return pair;
}

}  // namespace tessera
