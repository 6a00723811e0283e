#include "kernels/model_spec.hpp"

#include <algorithm>
#include <cmath>

namespace tessera {

std::string_view linear_name(Linear linear) {
  switch (linear) {
    case Linear::kQ:
      return "q_proj";
    case Linear::kK:
      return "k_proj";
    case Linear::kV:
      return "v_proj";
    case Linear::kO:
      return "o_proj";
    case Linear::kGate:
      return "gate_proj";
    case Linear::kUp:
      return "up_proj";
    case Linear::kDown:
      return "down_proj";
  }
  return "";
}

int ModelSpec::short_positions() const {
  int least = 0;
  for (const RopeSpec& rope : ropes) {
    if (rope.long_inv_freq.empty()) continue;
    least = least == 0 ? rope.short_positions : std::min(least, rope.short_positions);
  }
  return least;
}

LinearShape ModelSpec::shape(Linear linear) const {
  switch (linear) {
    case Linear::kQ:
      return {q_dim(), hidden};
    case Linear::kK:
    case Linear::kV:
      return {kv_dim(), hidden};
    case Linear::kO:
      return {hidden, q_dim()};
    case Linear::kGate:
    case Linear::kUp:
      return {intermediate, hidden};
    case Linear::kDown:
      return {hidden, intermediate};
  }
  return {0, 0};
}

LinearShape ModelSpec::expert_shape(Linear linear) const {
  if (linear == Linear::kDown) return {hidden, expert_intermediate};
  return {expert_intermediate, hidden};
}

std::vector<float> plain_inv_freq(float theta, int rotary_dim) {
  std::vector<float> inv_freq(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    inv_freq[i] = 1.0F / std::pow(theta, exponent);
  }
  return inv_freq;
}

}  // namespace tessera
