// document_recognizer.hpp — JSON documents of a schema: one stack, boolean obligations.
#pragma once

#include <memory>
#include <variant>

#include "engine/guided/document_options.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/schema.hpp"

namespace tessera::guided {

// The recognizer owns the graph; `pool` and `fuel` (the pool's) outlive it. Findings: what cannot
// be decided within the fuel, and a schema that nothing satisfies.
std::variant<std::unique_ptr<Recognizer>, GuidedFindings> make_document_recognizer(
    SchemaGraph graph, RegexPool& pool, Fuel& fuel, const DocumentOptions& options);

}  // namespace tessera::guided
