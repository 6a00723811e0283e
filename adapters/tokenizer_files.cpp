#include "adapters/tokenizer_files.hpp"

namespace tessera {

void check_tokenizer_files(std::span<const CarriedFile> files, const TokenizerCheck& check,
                           Validation& validation) {
  Findings& findings = validation.report.findings;
  for (const CarriedFile& file : files) {
    auto difference = check(file);
    if (!difference) continue;
    // Errors come first, and this one is about the whole adapter.
    findings.insert(findings.begin(),
                    {.code = FindingCode::kTokenizerMismatch,
                     .about = Finding::About::kField,
                     .subject = std::string(file.name),
                     .message = "The adapter was trained with another tokenizer: " + *difference});
    validation.adapter.reset();
  }
}

}  // namespace tessera
