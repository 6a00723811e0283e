#include "kernels/reference/reference_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bf16.hpp"

namespace tessera::reference {
namespace {

double product(float a, float b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

}  // namespace

float element(const std::byte* data, PageType type, std::size_t index) {
  if (type == PageType::kInt8) {
    return static_cast<float>(std::to_integer<std::int8_t>(data[index]));
  }
  if (type == PageType::kBf16) {
    Bf16 value;
    std::memcpy(&value, data + index * sizeof(value), sizeof(value));
    return bf16_to_float(value);
  }
  float value;
  std::memcpy(&value, data + index * sizeof(value), sizeof(value));
  return value;
}

double dot(ConstRow a, ConstRow b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += product(a[i], b[i]);
  return sum;
}

void multiply(std::span<const float> weights, ConstRow x, Row y) {
  for (std::size_t n = 0; n < y.size(); ++n) {
    y[n] = static_cast<float>(dot(weights.subspan(n * x.size(), x.size()), x));
  }
}

void add_to(Row y, ConstRow x) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += x[i];
}

void scale_by(Row y, float factor) {
  for (float& value : y) value *= factor;
}

void rms_norm(ConstRow x, const float* weight, float eps, Row y) {
  const auto mean_square = static_cast<float>(dot(x, x) / static_cast<double>(x.size()));
  const float inverse = 1.0F / std::sqrt(mean_square + eps);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = weight[i] * (x[i] * inverse);
}

void rms_norm_each(Row x, std::size_t width, const float* weight, float eps) {
  for (std::size_t at = 0; at < x.size(); at += width) {
    const Row part = x.subspan(at, width);
    rms_norm(part, weight, eps, part);
  }
}

void rotate(Row x, int head_dim, int position, std::span<const float> inv_freq, float scale) {
  const std::size_t pairs = inv_freq.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    const float angle = static_cast<float>(position) * inv_freq[i];
    const float cosine = std::cos(angle) * scale;
    const float sine = std::sin(angle) * scale;
    for (std::size_t head = 0; head < x.size(); head += static_cast<std::size_t>(head_dim)) {
      const float first = x[head + i];
      const float second = x[head + pairs + i];
      x[head + i] = first * cosine - second * sine;
      x[head + pairs + i] = second * cosine + first * sine;
    }
  }
}

float silu(float x) {
  return x / (1.0F + std::exp(-x));
}

float gelu_tanh(float x) {
  constexpr float kSqrtTwoOverPi = 0.7978845608F;
  return 0.5F * x * (1.0F + std::tanh(kSqrtTwoOverPi * (x + 0.044715F * x * x * x)));
}

void apply_gate(Activation activation, Row gate, ConstRow up) {
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = (activation == Activation::kSilu ? silu(gate[i]) : gelu_tanh(gate[i])) * up[i];
  }
}

float soft_cap(float x, float cap) {
  return cap == 0.0F ? x : cap * std::tanh(x / cap);
}

void softmax(Row scores) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (float& score : scores) {
    score = std::exp(score - largest);
    sum += static_cast<double>(score);
  }
  for (float& score : scores) score = static_cast<float>(static_cast<double>(score) / sum);
}

void choose_experts(Row logits, bool normalise, std::span<Route> routes) {
  softmax(logits);
  float sum = 0.0F;
  for (Route& route : routes) {
    const auto best = std::max_element(logits.begin(), logits.end());
    route = {static_cast<int>(best - logits.begin()), *best};
    sum += *best;
    *best = -1.0F;
  }
  for (Route& route : routes) {
    if (normalise) route.weight /= sum;
  }
  std::sort(routes.begin(), routes.end(),
            [](const Route& a, const Route& b) { return a.expert < b.expert; });
}

LoraWeights::LoraWeights(const LoraModule& module, PageType type, int in_features, int out_features)
    : module_(module),
      type_(type),
      in_(static_cast<std::size_t>(in_features)),
      out_(static_cast<std::size_t>(out_features)) {}

float LoraWeights::a(std::size_t rank, std::size_t k) const {
  const std::size_t page = rank / kRanksPerPage;
  return element(module_.a, type_, (page * in_ + k) * kRanksPerPage + rank % kRanksPerPage);
}

float LoraWeights::b(std::size_t n, std::size_t rank) const {
  const float b = element(module_.b, type_, rank * out_ + n);
  return type_ == PageType::kInt8 ? module_.scales[rank] * b : b;
}

void LoraWeights::shrink(ConstRow x, std::span<float> z) const {
  for (std::size_t r = 0; r < z.size(); ++r) {
    double sum = 0.0;
    for (std::size_t k = 0; k < x.size(); ++k) sum += product(a(r, k), x[k]);
    z[r] = static_cast<float>(sum);
  }
}

void LoraWeights::expand(std::span<const float> z, Row y) const {
  for (std::size_t n = 0; n < y.size(); ++n) {
    double sum = 0.0;
    for (std::size_t r = 0; r < z.size(); ++r) sum += product(b(n, r), z[r]);
    y[n] += static_cast<float>(sum);
  }
}

}  // namespace tessera::reference
