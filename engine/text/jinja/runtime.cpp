#include "engine/text/jinja/runtime.hpp"

#include <utility>

namespace tessera::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get()) {
    for (const auto& [variable, value] : scope->variables) {
      if (variable == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  for (auto& [variable, held] : variables) {
    if (variable != name) continue;
    held = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
}

Runtime::~Runtime() {
  for (const auto& ns : namespaces_) ns->members.clear();
  for (const auto& scope : kept_scopes_) scope->variables.clear();
}

std::shared_ptr<Namespace> Runtime::make_namespace() {
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

std::shared_ptr<Scope> Runtime::make_scope(std::shared_ptr<Scope> parent) {
  return std::make_shared<Scope>(Scope{.parent = std::move(parent)});
}

Value call(Runtime& runtime, const Value& callee, Arguments arguments) {
  runtime.spend();
  if (const Undefined* undefined = callee.undefined_reason()) fail(undefined->message);
  const Callable* callable = callee.callable();
  if (!callable) fail("'" + std::string(type_name(callee)) + "' object is not callable");
  return callable->call(runtime, std::move(arguments));
}

}  // namespace tessera::jinja
