// The property names that the schemas at a place know.

#include <unordered_set>

#include "engine/guided/obligations.hpp"

namespace tessera::guided {
namespace {

// Every name in the schemas that apply in place, each schema once.
class NameCollector {
 public:
  NameCollector(Obligations& obligations, Obligations::KnownNames& out)
      : obligations_(obligations), out_(out) {}

  void add_place(Literal place) {
    FormulaPool& formulas = obligations_.formulas();
    if (place <= kFails) return;
    if (formulas.composite(place)) {
      for (const Literal child : formulas.children(place)) add_place(child);
    } else if (formulas.op(place) == Op::kSchema) {
      push(formulas.a(place));
    } else if (formulas.op(place) == Op::kValues) {
      for (const ValueId id : formulas.value_list(place)) add_value(id);
    }
  }

  // Depth first in the order written, without recursion.
  void run_schemas() {
    while (!stack_.empty()) {
      const SchemaId id = stack_.back();
      stack_.pop_back();
      if (id <= kFalseSchema || !seen_.insert(id).second) continue;
      obligations_.formulas().fuel().spend();
      add_schema(obligations_.graph()[id]);
    }
  }

  void finish() {
    for (const NameId name : others_) {
      if (!declared_.contains(name)) out_.others.push_back(name);
    }
  }

 private:
  void push(SchemaId id) { stack_.push_back(id); }
  void declare(std::string_view name) {
    const NameId id = obligations_.name_id(name);
    if (declared_.insert(id).second) out_.declared.push_back(id);
  }
  void mention(std::string_view name) {
    const NameId id = obligations_.name_id(name);
    if (mentioned_.insert(id).second) others_.push_back(id);
  }

  void add_value(ValueId id) {
    const ValueTable& values = obligations_.values();
    if (values.kind(id) != JsonKind::kObject) return;
    for (const auto& [name, value] : values.members(id)) declare(name);
  }

  void add_schema(const Schema& schema) {
    if ((schema.types & kTypeObject) == 0) return;
    for (const auto& [name, child] : schema.properties) declare(name);
    for (const std::string& name : schema.required) mention(name);
    for (const auto& [name, wanted] : schema.dependent_required) {
      mention(name);
      for (const std::string& other : wanted) mention(other);
    }
    if (schema.values) {
      for (const ValueId id : *schema.values) add_value(id);
    }
    push_applicators(schema);
  }

  // The last pushed is the first visited.
  void push_applicators(const Schema& schema) {
    std::vector<SchemaId> ids(schema.all_of);
    for (const auto& branches : schema.any_of)
      ids.insert(ids.end(), branches.begin(), branches.end());
    for (const auto& branches : schema.one_of)
      ids.insert(ids.end(), branches.begin(), branches.end());
    ids.insert(ids.end(), schema.none_of.begin(), schema.none_of.end());
    for (const auto& part : {schema.if_, schema.then_, schema.else_}) {
      if (part) ids.push_back(*part);
    }
    for (const auto& [name, child] : schema.dependent_schemas) {
      mention(name);
      ids.push_back(child);
    }
    stack_.insert(stack_.end(), ids.rbegin(), ids.rend());
  }

  Obligations& obligations_;
  Obligations::KnownNames& out_;
  std::vector<SchemaId> stack_;
  std::unordered_set<SchemaId> seen_;
  std::unordered_set<NameId> declared_;
  std::unordered_set<NameId> mentioned_;
  std::vector<NameId> others_;
};

}  // namespace

Obligations::KnownNames Obligations::known_names(std::span<const Literal> places) {
  KnownNames names;
  NameCollector collector(*this, names);
  for (const Literal place : places) {
    collector.add_place(place);
    collector.run_schemas();
  }
  collector.finish();
  return names;
}

}  // namespace tessera::guided
