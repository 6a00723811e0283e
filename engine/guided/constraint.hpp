// constraint.hpp — what a request may generate: compiled once, shared by all who ask for the same.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/guided/document_options.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/schema_compiler.hpp"
#include "engine/guided/vocabulary.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

enum class ConstraintKind : std::uint8_t {
  kJsonObject,  // any JSON object
  kJsonSchema,
  kRegex,
  kChoice,  // one of `choices`
  kLark,
  kGbnf,
  kTags,  // free text in which marked parts follow constraints of their own
};

struct ConstraintSpec;

// Free text until `begin` is seen, then `body`, then `end`; as often as `TagRules` allow. A special
// token, where one is named, comes before `begin` and after `end`; it is a trigger by itself.
struct Tag {
  std::string begin;  // what opens it, e.g. <tool_call>{"name":"f","arguments":
  std::string end;    // e.g. }</tool_call>
  std::shared_ptr<const ConstraintSpec> body;
  std::optional<TokenId> begin_token = {};  // e.g. <|python_tag|>; `begin` may be empty then
  std::optional<TokenId> end_token = {};
};

struct TagRules {
  // A prefix of the begin of each tag that has no begin_token; seeing one starts a tag.
  std::vector<std::string> triggers;
  std::vector<Tag> tags;
  bool at_least_one = false;
  bool stop_after_first = false;
  bool free_text = true;  // false: nothing but tags (and `separator` between them)
  std::string separator = {};
};

struct ConstraintSpec {
  ConstraintKind kind = ConstraintKind::kJsonObject;
  std::string source = {};  // schema, pattern or grammar
  std::vector<std::string> choices = {};
  TagRules tags = {};
  SchemaOptions schema = {};
  DocumentOptions document = {};
  // Text that comes first, unconstrained, up to and with this (the end of reasoning); empty: none.
  std::string free_until = {};
  std::optional<TokenId> free_until_token = {};  // a special token that ends it as well
  // With which that text begins, if there is any: reasoning that a model may open, or not. Empty:
  // there is, and it is open.
  std::string free_from = {};

  std::string key() const;  // equal specs have equal keys; the content of the cache's key
};

// Immutable from outside; thread-safe (a lock around the recognizer and the masks).
class Constraint;

struct CompileError {
  enum class Kind : std::uint8_t { kInvalid, kUnsupported, kTooLarge, kTooComplex };
  Kind kind = Kind::kInvalid;
  GuidedFindings findings;  // at least one
};

// Blocking, tens of microseconds to `compile_fuel`'s worth: call it on a worker thread.
std::variant<std::shared_ptr<Constraint>, CompileError> compile_constraint(
    const ConstraintSpec& spec, std::shared_ptr<const Vocabulary> vocabulary,
    const GuidedLimits& limits = {});

}  // namespace tessera::guided
