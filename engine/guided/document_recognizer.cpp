#include "engine/guided/document_recognizer.hpp"

#include "engine/guided/document_machine.hpp"

namespace tessera::guided {

std::variant<std::unique_ptr<Recognizer>, GuidedFindings> make_document_recognizer(
    SchemaGraph graph, RegexPool& pool, Fuel& fuel, const DocumentOptions& options) {
  auto machine = std::make_unique<DocumentMachine>(std::move(graph), pool, fuel, options);
  const auto finding = [&](SchemaId at, std::string keyword, std::string reason, FindingKind kind) {
    const SchemaGraph& kept = machine->graph();
    return GuidedFindings{
        {kept.pointer(at), std::move(keyword), std::move(reason), kept[at].offset, kind}};
  };
  const SchemaId root = machine->graph().root;
  try {
    if (machine->satisfiable()) return machine;
  } catch (const TooComplex& fault) {
    return finding(fault.at == kTrueSchema ? root : fault.at, fault.keyword, fault.reason,
                   FindingKind::kUnsupported);
  }
  return finding(root, "", "nothing satisfies this schema", FindingKind::kUnsupported);
}

}  // namespace tessera::guided
