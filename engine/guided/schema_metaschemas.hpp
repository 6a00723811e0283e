// schema_metaschemas.hpp — schemas for schemas, so that a $ref to a draft's metaschema works.
//
// Our own short form: what decides whether a schema is valid, without the prose.
#pragma once

#include <memory>
#include <string>

#include "engine/guided/schema_compiler.hpp"

namespace tessera::guided {

std::shared_ptr<const std::string> metaschema_text(Draft draft);

}  // namespace tessera::guided
