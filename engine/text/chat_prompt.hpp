// chat_prompt.hpp — what a chat template is given, prepared as `transformers` prepares it.
//
// apply_chat_template does more than render: a message's reasoning is told under each of the names
// that templates read, tools and documents that are not there are none rather than undefined, and
// an answer that is to be continued is cut off where its text ends. Templates rely on all of it, so
// that whoever renders a conversation has to come through here.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/text/chat_template.hpp"
#include "storage/clock.hpp"
#include "storage/result.hpp"

namespace tessera {

struct ChatInput {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools = nullptr;
  nlohmann::ordered_json documents = nullptr;
  bool add_generation_prompt = true;
  // Not empty: the member of the last message ("content", "reasoning_content") whose text the
  // prompt ends with, for the model to go on with.
  std::string continued_member = {};
  // bos_token, eos_token, enable_thinking ...
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

// Errors: those of ChatTemplate::render; kInvalidValue too if there is no text to continue, or the
// template changes it.
Result<std::string> render_chat(const ChatTemplate& chat_template, const ChatInput& input,
                                WallTime now);

}  // namespace tessera
