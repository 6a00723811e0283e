// document_options.hpp — which of the many texts of a JSON value are generated.
#pragma once

#include <cstdint>

#include "engine/guided/number_language.hpp"
#include "engine/guided/string_lexer.hpp"

namespace tessera::guided {

enum class PropertyOrder : std::uint8_t {
  kSchema,  // names that a schema which may still apply declares, as written; then the others
  kAny,     // any order
};

enum class Whitespace : std::uint8_t {
  kCompact,   // none: {"a":1,"b":2}
  kFlexible,  // up to max_whitespace bytes of space, newline, tab between JSON's tokens
};

struct DocumentOptions {
  PropertyOrder property_order = PropertyOrder::kSchema;
  Whitespace whitespace = Whitespace::kCompact;
  int max_whitespace = 16;  // bytes in a row, under kFlexible
  Escapes escapes = Escapes::kJson;
  IntegerForm integer_form = IntegerForm::kDigits;
  int max_depth = 128;
};

}  // namespace tessera::guided
