// package_context.hpp — what an adapter's package is held against: the base and its tokenizer.
#pragma once

#include "adapters/sandbox/package_validation.hpp"
#include "engine/model/packed_model.hpp"
#include "gateway/served_model.hpp"

namespace tessera {

// For validation in the server's process. `model` and `base` outlive the result.
PackageContext package_context(const ServedModel& model, const BaseModel& base, PageType page_type);

// For a process that has the packed model alone; reads its tokenizer when a package brings one.
// `model` and `base` outlive the result.
PackageContext package_context(const PackedModel& model, const BaseModel& base, PageType page_type);

}  // namespace tessera
