#include "engine/text/chat_template.hpp"

#include <cassert>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/jinja/evaluator.hpp"
#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/parser.hpp"
#include "engine/text/jinja/runtime.hpp"

namespace tessera {
namespace {

Error to_error(const jinja::Failure& failure) {
  using Kind = jinja::Failure::Kind;
  switch (failure.kind()) {
    case Kind::kRaised:
      return {Code::kInvalidValue, failure.what()};
    case Kind::kSyntax:
      return {Code::kUnsupportedModel, std::string("chat template: ") + failure.what()};
    case Kind::kData:
      return {Code::kInvalidValue, std::string("chat template: ") + failure.what()};
    case Kind::kLimit:
      return {Code::kRequestExceedsLimit, std::string("chat template: ") + failure.what()};
  }
  return {};
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::unique_ptr<const jinja::Template> parsed,
                           const TemplateLimits& limits)
    : source_(std::move(source)), template_(std::move(parsed)), limits_(limits) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const TemplateLimits& limits) {
  try {
    auto parsed =
        std::make_unique<const jinja::Template>(jinja::parse(source, limits.source_depth_max));
    return ChatTemplate(std::string(source), std::move(parsed), limits);
  } catch (const jinja::Failure& failure) {
    return to_error(failure);
  }
}

Result<std::string> ChatTemplate::render(const nlohmann::ordered_json& variables,
                                         WallTime now) const {
  assert(variables.is_object());
  try {
    return render_values(jinja::from_json(variables), now);
  } catch (const jinja::Failure& failure) {  // nested too deeply
    return to_error(failure);
  }
}

Result<std::string> ChatTemplate::render_values(const jinja::Value& variables, WallTime now) const {
  assert(variables.dict());
  try {
    jinja::Runtime runtime(limits_, now);
    return jinja::render(*template_, variables, runtime);
  } catch (const jinja::Failure& failure) {
    return to_error(failure);
  }
}

}  // namespace tessera
