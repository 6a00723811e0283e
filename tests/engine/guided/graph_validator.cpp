#include "tests/engine/guided/graph_validator.hpp"

#include <algorithm>
#include <stdexcept>

namespace tessera::guided {

namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char byte : text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    if (byte == '"' || byte == '\\') {
      out.append(1, '\\').append(1, byte);
    } else if (value < 0x20) {
      out.append("\\u00").append(1, kDigits[value / 16]).append(1, kDigits[value % 16]);
    } else {
      out.push_back(byte);
    }
  }
  return out + "\"";
}

}  // namespace

std::string json_text(const JsonTree& tree, JsonIndex at) {
  const JsonNode& node = tree[at];
  const bool is_object = node.kind == JsonKind::kObject;
  std::string out;
  switch (node.kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBoolean:
      return node.boolean ? "true" : "false";
    case JsonKind::kNumber:
      return std::string(node.text);
    case JsonKind::kString:
      return quoted(node.text);
    case JsonKind::kArray:
    case JsonKind::kObject:
      for (JsonIndex in = at + 1; in != node.next; in = tree[in].next) {
        out += out.empty() ? "" : ",";
        if (is_object) out += quoted(tree[in].name) + ":";
        out += json_text(tree, in);
      }
      break;
  }
  return is_object ? "{" + out + "}" : "[" + out + "]";
}

void GraphValidator::Evaluated::add(const Evaluated& other) {
  names.insert(other.names.begin(), other.names.end());
  items.insert(other.items.begin(), other.items.end());
}

ValueId GraphValidator::read(const JsonTree& tree, JsonIndex at) {
  const JsonNode& node = tree[at];
  std::vector<ValueId> items;
  std::vector<ValueTable::Member> members;
  switch (node.kind) {
    case JsonKind::kNull:
      return graph_.values.null();
    case JsonKind::kBoolean:
      return graph_.values.boolean(node.boolean);
    case JsonKind::kNumber:
      return graph_.values.number(Decimal::parse(node.text).value());
    case JsonKind::kString:
      return graph_.values.string(node.text);
    case JsonKind::kArray:
      for (JsonIndex in = at + 1; in != node.next; in = tree[in].next)
        items.push_back(read(tree, in));
      return graph_.values.array(items);
    case JsonKind::kObject:
      for (JsonIndex in = at + 1; in != node.next; in = tree[in].next) {
        members.emplace_back(tree[in].name, read(tree, in));
      }
      return graph_.values.object(members);
  }
  throw std::logic_error("no such kind");
}

bool GraphValidator::valid(std::string_view json) {
  JsonTree tree;
  GuidedFindings findings;
  const auto root = tree.append(json, 100'000, 1, findings);
  if (!root) throw std::runtime_error(findings.at(0).reason);
  return valid(tree, *root);
}

bool GraphValidator::valid(const JsonTree& tree, JsonIndex at) {
  return valid(graph_.root, read(tree, at));
}

bool GraphValidator::valid(SchemaId id, ValueId value) {
  Evaluated ignored;
  return check(id, value, ignored);
}

bool GraphValidator::check_type(const Schema& schema, ValueId value) const {
  switch (graph_.values.kind(value)) {
    case JsonKind::kNull:
      return (schema.types & kTypeNull) != 0;
    case JsonKind::kBoolean:
      return (schema.types & kTypeBoolean) != 0;
    case JsonKind::kNumber:
      if ((schema.types & kTypeNumber) != 0) return true;
      return (schema.types & kTypeInteger) != 0 && graph_.values.as_number(value).integral();
    case JsonKind::kString:
      return (schema.types & kTypeString) != 0;
    case JsonKind::kArray:
      return (schema.types & kTypeArray) != 0;
    case JsonKind::kObject:
      return (schema.types & kTypeObject) != 0;
  }
  return false;
}

bool GraphValidator::check(SchemaId id, ValueId value, Evaluated& evaluated) {
  const Schema& schema = graph_[id];
  if (!check_type(schema, value)) return false;
  if (schema.values && std::ranges::count(*schema.values, value) == 0) return false;
  switch (graph_.values.kind(value)) {
    case JsonKind::kNumber:
      if (!check_number(schema, graph_.values.as_number(value))) return false;
      break;
    case JsonKind::kString:
      if (!check_string(schema, graph_.values.as_string(value))) return false;
      break;
    case JsonKind::kArray:
      if (!check_array(schema, value, evaluated)) return false;
      break;
    case JsonKind::kObject:
      if (!check_object(schema, value, evaluated)) return false;
      break;
    default:
      break;
  }
  return check_in_place(schema, value, evaluated) && check_unevaluated(schema, value, evaluated);
}

bool GraphValidator::check_number(const Schema& schema, const Decimal& number) const {
  const auto above = [&](const NumberBound& bound) {
    const int order = number.compare(bound.value);
    return order > 0 || (order == 0 && !bound.exclusive);
  };
  const auto below = [&](const NumberBound& bound) {
    const int order = number.compare(bound.value);
    return order < 0 || (order == 0 && !bound.exclusive);
  };
  return std::ranges::all_of(schema.minimum, above) && std::ranges::all_of(schema.maximum, below) &&
         std::ranges::all_of(schema.multiple_of, [&](const Decimal& divisor) {
           return number.is_multiple_of(divisor).value();
         });
}

bool GraphValidator::check_string(const Schema& schema, const std::string& text) {
  return std::ranges::all_of(schema.text,
                             [&](RegexId language) { return pool_.matches(language, text); });
}

bool GraphValidator::check_array(const Schema& schema, ValueId value, Evaluated& evaluated) {
  const auto items = graph_.values.items(value);
  if (items.size() < schema.min_items || items.size() > schema.max_items) return false;
  if (schema.unique_items && std::set<ValueId>(items.begin(), items.end()).size() != items.size()) {
    return false;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const bool in_prefix = i < schema.prefix.size();
    if (!valid(in_prefix ? schema.prefix[i] : schema.items, items[i])) return false;
    if (in_prefix || schema.has_items) evaluated.items.insert(i);
  }
  if (!schema.contains) return true;
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!valid(*schema.contains, items[i])) continue;
    ++found;
    if (schema.contains_evaluates) evaluated.items.insert(i);
  }
  return found >= schema.min_contains && found <= schema.max_contains;
}

bool GraphValidator::has(ValueId object, const std::string& name) const {
  return std::ranges::any_of(graph_.values.members(object), [&](const ValueTable::Member& member) {
    return member.first == name;
  });
}

bool GraphValidator::check_object(const Schema& schema, ValueId value, Evaluated& evaluated) {
  const auto members = graph_.values.members(value);
  if (members.size() < schema.min_properties || members.size() > schema.max_properties)
    return false;
  for (const std::string& name : schema.required) {
    if (!has(value, name)) return false;
  }
  for (const auto& [name, member] : members) {
    bool covered = false;
    for (const auto& [declared, id] : schema.properties) {
      if (declared != name) continue;
      covered = true;
      if (!valid(id, member)) return false;
    }
    for (const auto& [pattern, id] : schema.pattern_properties) {
      if (!pool_.matches(pattern, name)) continue;
      covered = true;
      if (!valid(id, member)) return false;
    }
    if (!covered && !valid(schema.additional, member)) return false;
    if (covered || schema.has_additional) evaluated.names.insert(name);
    if (schema.property_names && !valid(*schema.property_names, graph_.values.string(name))) {
      return false;
    }
  }
  return check_dependencies(schema, value, evaluated);
}

bool GraphValidator::check_dependencies(const Schema& schema, ValueId value, Evaluated& evaluated) {
  for (const auto& [name, needed] : schema.dependent_required) {
    if (!has(value, name)) continue;
    for (const std::string& other : needed) {
      if (!has(value, other)) return false;
    }
  }
  for (const auto& [name, id] : schema.dependent_schemas) {
    if (has(value, name) && !check(id, value, evaluated)) return false;
  }
  return true;
}

bool GraphValidator::check_in_place(const Schema& schema, ValueId value, Evaluated& evaluated) {
  const auto count = [&](const std::vector<SchemaId>& branches) {
    std::size_t satisfied = 0;
    for (const SchemaId branch : branches) {
      Evaluated inside;
      if (!check(branch, value, inside)) continue;
      ++satisfied;
      evaluated.add(inside);
    }
    return satisfied;
  };
  if (count(schema.all_of) != schema.all_of.size()) return false;
  for (const auto& branches : schema.any_of) {
    if (count(branches) == 0) return false;
  }
  for (const auto& branches : schema.one_of) {
    if (count(branches) != 1) return false;
  }
  for (const SchemaId id : schema.none_of) {
    if (valid(id, value)) return false;
  }
  if (!schema.if_) return true;
  Evaluated inside;
  const bool holds = check(*schema.if_, value, inside);
  if (holds) evaluated.add(inside);
  const auto branch = holds ? schema.then_ : schema.else_;
  return !branch || check(*branch, value, evaluated);
}

bool GraphValidator::check_unevaluated(const Schema& schema, ValueId value, Evaluated& evaluated) {
  const JsonKind kind = graph_.values.kind(value);
  if (schema.unevaluated_items && kind == JsonKind::kArray) {
    const auto items = graph_.values.items(value);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (evaluated.items.contains(i)) continue;
      if (!valid(*schema.unevaluated_items, items[i])) return false;
      evaluated.items.insert(i);
    }
  }
  if (schema.unevaluated_properties && kind == JsonKind::kObject) {
    for (const auto& [name, member] : graph_.values.members(value)) {
      if (evaluated.names.contains(name)) continue;
      if (!valid(*schema.unevaluated_properties, member)) return false;
      evaluated.names.insert(name);
    }
  }
  return true;
}

}  // namespace tessera::guided
