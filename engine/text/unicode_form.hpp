// unicode_form.hpp — Unicode normal forms, as old as Hugging Face `tokenizers` has them.
//
// That library's tables are those of Unicode 9: what was assigned later has no decomposition and
// no combining class there. ICU does the work on the text between such characters.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

enum class UnicodeForm : unsigned char { kNfc, kNfd, kNfkc, kNfkd };

// `text`, valid UTF-8, in that form. Thread-safe.
std::string to_unicode_form(std::string_view text, UnicodeForm form);

}  // namespace tessera
