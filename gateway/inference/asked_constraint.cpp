#include "gateway/inference/asked_constraint.hpp"

#include <charconv>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/http/error_body.hpp"

namespace tessera {
namespace {

using guided::CompileError;
using guided::ConstraintKind;
using guided::GuidedFinding;
using nlohmann::ordered_json;

// A finding with the place that its pointer is about.
struct PlacedFinding {
  const AskedConstraint::Place* place;
  std::string pointer;
};

// "/tags/3/properties/a" is "/properties/a" of the fourth tag's body.
PlacedFinding placed(const AskedConstraint& asked, const GuidedFinding& finding) {
  constexpr std::string_view kTags = "/tags/";
  if (asked.spec.kind != ConstraintKind::kTags || !finding.pointer.starts_with(kTags)) {
    return {&asked.place, finding.pointer};
  }
  std::size_t index = 0;
  const char* const end = finding.pointer.data() + finding.pointer.size();
  const auto parsed = std::from_chars(finding.pointer.data() + kTags.size(), end, index);
  if (parsed.ec != std::errc() || index >= asked.tags.size())
    return {&asked.place, finding.pointer};
  return {&asked.tags[index], std::string(parsed.ptr, end)};
}

Code schema_code(CompileError::Kind kind) {
  switch (kind) {
    case CompileError::Kind::kInvalid:
      return Code::kInvalidJsonSchema;
    case CompileError::Kind::kUnsupported:
      return Code::kUnsupportedSchema;
    case CompileError::Kind::kTooLarge:
      return Code::kSchemaTooLarge;
    case CompileError::Kind::kTooComplex:
      return Code::kSchemaTooComplex;
  }
  return Code::kUnsupportedSchema;
}

Code code_of(ConstraintKind constraint, CompileError::Kind kind) {
  const bool too_much =
      kind == CompileError::Kind::kTooLarge || kind == CompileError::Kind::kTooComplex;
  switch (constraint) {
    case ConstraintKind::kRegex:
      return too_much ? Code::kRegexTooComplex : Code::kInvalidRegex;
    case ConstraintKind::kChoice:
      return too_much ? Code::kRequestExceedsLimit : Code::kInvalidValue;
    case ConstraintKind::kLark:
    case ConstraintKind::kGbnf:
      return too_much ? Code::kGrammarTooComplex : Code::kInvalidGrammar;
    case ConstraintKind::kJsonObject:
    case ConstraintKind::kJsonSchema:
    case ConstraintKind::kTags:
      break;
  }
  return schema_code(kind);
}

std::string message_of(const PlacedFinding& where, const GuidedFinding& finding) {
  std::string message = "Invalid " + where.place->what + ":";
  if (!where.pointer.empty()) message += " at " + where.pointer + ",";
  if (!finding.keyword.empty()) message += " '" + finding.keyword + "':";
  message += ' ' + finding.reason;
  if (!message.ends_with('.')) message += '.';
  return message;
}

}  // namespace

HttpResponse constraint_refusal(const AskedConstraint& asked, const CompileError& error,
                                const RequestId& request) {
  const PlacedFinding first = placed(asked, error.findings.front());
  ordered_json details = ordered_json::array();
  for (const GuidedFinding& finding : error.findings) {
    PlacedFinding where = placed(asked, finding);
    ordered_json detail;
    if (where.place != first.place) detail["param"] = where.place->param;
    detail["pointer"] = std::move(where.pointer);
    detail["keyword"] = finding.keyword;
    detail["reason"] = finding.reason;
    details.push_back(std::move(detail));
  }
  const Error told{code_of(asked.spec.kind, error.kind), message_of(first, error.findings.front()),
                   first.place->param};
  return error_response(told, request, details);
}

}  // namespace tessera
