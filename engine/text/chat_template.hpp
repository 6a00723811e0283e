// chat_template.hpp — a conversation as the prompt the model was trained on.
//
// A chat template is a Jinja program that comes with the model. This is the public face of our
// interpreter (engine/text/jinja/), which renders as Python's jinja2 does when `transformers` sets
// it up: the immutable sandbox, trim_blocks and lstrip_blocks, loop controls, a tojson that escapes
// nothing, raise_exception, strftime_now and the `generation` block. A conversation is rendered by
// way of chat_prompt.hpp, which prepares it. Templates come from the model
// directory that the platform's owner chose, never from a tenant; they are bounded all the same.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "storage/clock.hpp"
#include "storage/result.hpp"

namespace tessera {

struct TemplateLimits {
  std::size_t steps_max = 20'000'000;                    // nodes evaluated in one rendering
  std::size_t output_bytes_max = std::size_t{64} << 20;  // of the text, and of any string made
  int source_depth_max = 400;                            // nesting of the source
  int evaluation_depth_max = 1000;                       // nesting of what is being evaluated
};

namespace jinja {
struct Template;
class Value;
}  // namespace jinja

// Immutable; rendering is thread-safe.
class ChatTemplate {
 public:
  // Errors: kUnsupportedModel if the source is not a template that we can run, with its line.
  static Result<ChatTemplate> parse(std::string_view source, const TemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Renders with the members of the object `variables` (messages, tools, add_generation_prompt,
  // bos_token ...) as variables. `now` is what strftime_now shows, in UTC.
  // Errors: kInvalidValue with the template's own text if it calls raise_exception, or with what
  // went wrong if the conversation is not of a form the template can render;
  // kRequestExceedsLimit if a limit was reached.
  Result<std::string> render(const nlohmann::ordered_json& variables, WallTime now) const;
  // The same with the members of a dict.
  Result<std::string> render_values(const jinja::Value& variables, WallTime now) const;

  const std::string& source() const { return source_; }

 private:
  ChatTemplate(std::string source, std::unique_ptr<const jinja::Template> parsed,
               const TemplateLimits& limits);

  std::string source_;
  std::unique_ptr<const jinja::Template> template_;
  TemplateLimits limits_;
};

}  // namespace tessera
