// fuzz_chat_template.cpp — no template makes the interpreter misbehave, whatever it is given.
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/text/chat_prompt.hpp"
#include "engine/text/template_traits.hpp"

namespace {

using Json = nlohmann::ordered_json;

// With something of everything that templates look at.
tessera::ChatInput conversation() {
  tessera::ChatInput input;
  const Json call = {
      {"id", "call12345"},
      {"type", "function"},
      {"function", {{"name", "f"}, {"arguments", {{"x", 1}, {"y", {1.5, nullptr}}}}}}};
  input.messages = Json::array({{{"role", "system"}, {"content", "S \n"}},
                                {{"role", "user"}, {"content", "héllo <b> {{ x }}"}},
                                {{"role", "assistant"},
                                 {"content", nullptr},
                                 {"reasoning_content", "r"},
                                 {"tool_calls", Json::array({call})}},
                                {{"role", "tool"}, {"content", "1"}, {"name", "f"}}});
  input.tools = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  input.variables["bos_token"] = "<s>";
  return input;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tessera::ChatInput input = conversation();
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  constexpr tessera::TemplateLimits kLimits{.steps_max = 20'000, .output_bytes_max = 1 << 16};
  const auto parsed = tessera::ChatTemplate::parse(source, kLimits);
  if (!parsed) {
    if (parsed.error().message.empty()) std::abort();
    return 0;
  }
  const auto text = tessera::render_chat(*parsed, input, tessera::WallTime{});
  if (text && text->size() > kLimits.output_bytes_max) std::abort();
  tessera::probe_template(*parsed);
  return 0;
}
