#include "engine/model/forward.hpp"

namespace tessera {

void run_forward(Backend& backend, int num_layers, const StepInput& input) {
  backend.begin(input);
  backend.embed();
  for (int layer = 0; layer < num_layers; ++layer) {
    backend.qkv(layer);
    backend.attention(layer);
    backend.o_proj(layer);
    backend.gate_up(layer);
    backend.down(layer);
  }
  backend.head();
}

}  // namespace tessera
