// spec_json.hpp — a ModelSpec as JSON and back, for the header of a packed file.
//
// Layers that are alike are written once: "layers" lists the kinds, "layer_kinds" the kind of each
// layer. The text is part of the base's identity (packed_format.hpp).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "kernels/model_spec.hpp"

namespace tessera {

nlohmann::ordered_json spec_to_json(const ModelSpec& spec);

// Throws what nlohmann's checked access throws if a member is missing or of another type, and
// std::out_of_range for an unknown name or kind; values are checked by check_spec().
ModelSpec spec_from_json(const nlohmann::ordered_json& node);

}  // namespace tessera
