// fuzz_tokenizer.cpp — no tokenizer.json misbehaves, whatever model, table or expression is in it.
//
// The seeds are tests/engine/data/tokenizers.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/text/detokenizer.hpp"
#include "engine/text/tokenizer.hpp"

namespace tessera {
namespace {

constexpr std::size_t kInputMax = 64 << 10;

void use(const Tokenizer& tokenizer) {
  for (const std::string_view text :
       {"", "the lamp 123 <|end|>", "  e\xCC\x81\r\n\xEF\xAC\x81\xF0\x9F\x91\x8D\xFF",
        "</s>[SEP]"}) {
    const auto ids = tokenizer.encode(text, {.add_special = true});
    Detokenizer detokenizer(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += detokenizer.push(id);
    if (streamed + detokenizer.flush() != tokenizer.decode(ids)) std::abort();
  }
}

}  // namespace
}  // namespace tessera

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > tessera::kInputMax) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = tessera::Tokenizer::from_json(text);
  if (tokenizer) {
    tessera::use(**tokenizer);
  } else if (tokenizer.error().message.empty()) {
    std::abort();
  }
  return 0;
}
