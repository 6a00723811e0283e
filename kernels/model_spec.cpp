#include "kernels/model_spec.hpp"

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

}  // namespace tessera
