#include "gateway/inference/tool_constraint.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/text/json_scanner.hpp"
#include "gateway/config.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using guided::ConstraintKind;
using guided::ConstraintSpec;
using guided::Tag;

// A call as the family writes it: what stands before the function's name, between it and the
// arguments, behind those, and between two calls where there is nothing else.
struct CallForm {
  std::string before;
  std::string between;
  std::string after;
  std::string separator;
};

constexpr std::string_view kName = R"({"name": ")";
constexpr std::string_view kArguments = R"(", "arguments": )";
constexpr std::string_view kParameters = R"(", "parameters": )";

std::string text(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) out += part;
  return out;
}

CallForm mistral_form(const AnswerSyntax& syntax, const Tokenizer& tokenizer) {
  if (tokenizer.id_of("[ARGS]")) return {syntax.call_open, "[ARGS]", "", ""};
  return {text({syntax.call_open, " [", kName}), std::string(kArguments), "}]", ""};
}

CallForm json_form(const AnswerSyntax& syntax, const Tokenizer& tokenizer) {
  if (syntax.call_open.empty()) return {std::string(kName), std::string(kArguments), "}", "\n"};
  std::string after = "}]";
  if (tokenizer.id_of(syntax.call_close)) after += syntax.call_close;
  return {text({syntax.call_open, "[", kName}), std::string(kArguments), std::move(after), "\n"};
}

std::optional<CallForm> form_of(const AnswerSyntax& syntax, const Tokenizer& tokenizer) {
  switch (syntax.tools) {
    case ToolFormat::kHermes:
      return CallForm{text({syntax.call_open, "\n", kName}), std::string(kArguments),
                      text({"}\n", syntax.call_close}), "\n"};
    case ToolFormat::kLlama3:
      return CallForm{std::string(kName), std::string(kParameters), "}", "; "};
    case ToolFormat::kMistral:
      return mistral_form(syntax, tokenizer);
    case ToolFormat::kJson:
      return json_form(syntax, tokenizer);
    case ToolFormat::kNone:
      break;
  }
  return std::nullopt;
}

std::string parameters_path(const ToolFunction& function) {
  return "tools[" + std::to_string(function.index) + "].function.parameters";
}

// The schema, made to say that its values are objects, which arguments are.
Result<std::string> object_schema(const ToolFunction& function) {
  const auto tree = parse_json(function.parameters, {.max_depth = kMaxInferenceJsonDepth});
  const Error no_object{
      Code::kInvalidJsonSchema,
      "The parameters of the function '" + function.name + "' must be a schema of type 'object'.",
      parameters_path(function)};
  if (!tree || !tree->is_object()) return no_object;
  if (const auto type = tree->find("type"); type != tree->end()) {
    if (*type != "object") return no_object;
    return function.parameters;
  }
  const bool is_empty = tree->empty();
  const std::size_t brace = function.parameters.find('{');
  std::string typed = function.parameters;
  typed.insert(brace + 1, is_empty ? R"("type":"object")" : R"("type":"object",)");
  return typed;
}

Result<std::shared_ptr<const ConstraintSpec>> arguments_spec(const ChatTools& tools,
                                                             const ToolFunction& function,
                                                             const OutputRules& rules) {
  auto spec = std::make_shared<ConstraintSpec>();
  spec->schema = rules.schema;
  spec->document = rules.document;
  // The parser of the answer reads so deep, and the call itself is a level.
  spec->document.max_depth = std::min(spec->document.max_depth, JsonScanner::kMaxDepth - 2);
  if (!tools.enforces(function) || function.parameters.empty()) {
    return std::shared_ptr<const ConstraintSpec>(std::move(spec));  // any object
  }
  auto schema = object_schema(function);
  if (!schema) return schema.error();
  spec->kind = ConstraintKind::kJsonSchema;
  spec->source = *std::move(schema);
  return std::shared_ptr<const ConstraintSpec>(std::move(spec));
}

// Why calls cannot be constrained as they are asked for; nothing if they can.
std::optional<Error> refusal(const AnswerSyntax& syntax, bool must_call) {
  const std::string param = must_call ? "tool_choice" : "tools";
  if (syntax.tools == ToolFormat::kNone) {
    return Error{Code::kUnsupportedParameter,
                 "This model writes tool calls in a form that this server does not know, so they "
                 "cannot be constrained; only 'tool_choice' auto or none without 'strict' "
                 "functions is possible.",
                 param};
  }
  if (must_call || !syntax.bare_calls) return std::nullopt;
  return Error{Code::kUnsupportedParameter,
               "This model's tool calls need no mark, so they cannot be told from other text while "
               "it is written: 'strict' functions and 'allowed_tools' need a 'tool_choice' that "
               "asks for a call.",
               param};
}

}  // namespace

Result<AskedConstraint> tool_constraint(const AnswerSyntax& syntax, const Tokenizer& tokenizer,
                                        const ChatTools& tools, const OutputRules& rules) {
  const bool must_call = tools.choice != ToolChoice::kAuto;
  if (auto refused = refusal(syntax, must_call)) return *std::move(refused);
  const CallForm form = form_of(syntax, tokenizer).value();
  AskedConstraint constraint;
  constraint.place = {must_call ? "tool_choice" : "tools", "tools"};
  constraint.spec.kind = ConstraintKind::kTags;
  guided::TagRules& tags = constraint.spec.tags;
  tags.triggers = {must_call ? form.before : syntax.call_open};
  tags.at_least_one = must_call;
  tags.free_text = !must_call;
  tags.separator = form.separator;
  tags.stop_after_first = !tools.parallel || tools.choice == ToolChoice::kNamed;
  for (const ToolFunction& function : tools.functions) {
    auto body = arguments_spec(tools, function, rules);
    if (!body) return body.error();
    tags.tags.push_back({.begin = form.before + function.name + form.between,
                         .end = form.after,
                         .body = *std::move(body)});
    constraint.tags.push_back(
        {parameters_path(function), "schema for function '" + function.name + "'"});
  }
  return constraint;
}

}  // namespace tessera
