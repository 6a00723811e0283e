// template_traits.hpp — in which of several forms a chat template takes what clients send.
//
// OpenAI's clients send a call's arguments as a string, content as a list of parts, no content
// beside calls. Templates were written against Python objects: most want the arguments as an
// object, some as the string; some read parts, others would print the list. Nothing in a template
// says which, so it is tried out, once, with small conversations of ours.
#pragma once

#include "engine/text/chat_template.hpp"

namespace tessera {

struct TemplateTraits {
  bool takes_tools = false;
  bool takes_parts = false;        // content as a list; else the texts are joined, one a line
  bool arguments_as_text = false;  // of calls; else as an object
  bool null_content_as_empty = false;
  bool knows_developer = false;  // the role; else it is told as system
  bool takes_reasoning_effort = false;
  bool takes_enable_thinking = false;
};

TemplateTraits probe_template(const ChatTemplate& chat_template);

}  // namespace tessera
