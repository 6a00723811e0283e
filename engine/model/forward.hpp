// forward.hpp — the forward pass: the backend's stages in the order in which the model has them.
#pragma once

#include "kernels/backend.hpp"

namespace tessera {

// Computes the step's rows: their keys and values are in their blocks, and the logits of
// input.head_rows can be read from the backend until its next step.
void run_forward(Backend& backend, int num_layers, const StepInput& input);

}  // namespace tessera
