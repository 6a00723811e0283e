// prompt_output.hpp — what a request may want to know of its prompt, beside how it goes on.
#pragma once

#include <cstdint>

namespace tessera {

// A state is what the output head reads of a token: (hidden,), after the final norm.
enum class PromptOutput : std::uint8_t {
  kNone,
  kLastState,  // the last token's state
  kMeanState,  // the mean of all tokens' states
  kLogprobs,   // of every token but the first, its log-probability
};

}  // namespace tessera
