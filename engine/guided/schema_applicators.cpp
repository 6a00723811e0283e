#include <utility>

#include "engine/guided/schema_compilation.hpp"

namespace tessera::guided {
namespace {

JsonIndex at(const auto& keywords, Keyword keyword) {
  return keywords[static_cast<std::size_t>(keyword)];
}

}  // namespace

bool SchemaCompilation::is_object(JsonIndex at) {
  if (tree_[at].kind == JsonKind::kObject) return true;
  invalid(at, "must be an object");
  return false;
}

std::vector<SchemaId> SchemaCompilation::read_schemas(JsonIndex at) {
  std::vector<SchemaId> schemas;
  if (tree_[at].kind != JsonKind::kArray || tree_[at].count == 0) {
    invalid(at, "must be an array of at least one schema");
    return schemas;
  }
  schemas.reserve(tree_[at].count);
  for (JsonIndex item = at + 1; item != tree_[at].next && !done_for(); item = tree_[item].next) {
    schemas.push_back(link_child(item));
  }
  return schemas;
}

// The array form of `items` has been prefixItems since 2020-12. It is still common where no $schema
// is given, and can mean nothing else there.
void SchemaCompilation::build_items(const Keywords& keywords, Schema& schema) {
  const JsonIndex items = at(keywords, Keyword::kItems);
  const JsonIndex prefix = at(keywords, Keyword::kPrefixItems);
  if (prefix != kNoJson) schema.prefix = read_schemas(prefix);
  if (items == kNoJson) return;
  if (tree_[items].kind != JsonKind::kArray) {
    schema.items = link_child(items);
    schema.has_items = true;
    return;
  }
  const bool is_prefix = draft_ < Draft::k2020_12 || !resources_[here_.resource].draft_named;
  if (!is_prefix) return invalid(items, "must be a schema; 2020-12 calls an array prefixItems");
  if (tree_[items].count > 0) schema.prefix = read_schemas(items);
  const JsonIndex rest = at(keywords, Keyword::kAdditionalItems);
  if (rest == kNoJson) return;
  schema.items = link_child(rest);
  schema.has_items = true;
}

void SchemaCompilation::build_arrays(const Keywords& keywords, Schema& schema) {
  build_items(keywords, schema);
  read_count_into(at(keywords, Keyword::kMinItems), schema.min_items);
  read_count_into(at(keywords, Keyword::kMaxItems), schema.max_items);
  if (const JsonIndex unique = at(keywords, Keyword::kUniqueItems); unique != kNoJson) {
    if (tree_[unique].kind != JsonKind::kBoolean) return invalid(unique, "must be true or false");
    schema.unique_items = tree_[unique].boolean;
  }
  if (const JsonIndex contains = at(keywords, Keyword::kContains); contains != kNoJson) {
    schema.contains = link_child(contains);
    schema.contains_evaluates = draft_ == Draft::k2020_12;
    read_count_into(at(keywords, Keyword::kMinContains), schema.min_contains);
    read_count_into(at(keywords, Keyword::kMaxContains), schema.max_contains);
  }
  if (const JsonIndex rest = at(keywords, Keyword::kUnevaluatedItems); rest != kNoJson) {
    schema.unevaluated_items = link_child(rest);
  }
}

void SchemaCompilation::build_objects(const Keywords& keywords, Schema& schema) {
  if (const JsonIndex list = at(keywords, Keyword::kProperties);
      list != kNoJson && is_object(list)) {
    schema.properties.reserve(tree_[list].count);
    for (JsonIndex in = list + 1; in != tree_[list].next && !done_for(); in = tree_[in].next) {
      schema.properties.emplace_back(tree_[in].name, link_child(in));
    }
    num_properties_ += tree_[list].count;
    if (num_properties_ > limits_.max_properties) {
      return give_up(list, "properties", "the schema names too many properties",
                     FindingKind::kTooLarge);
    }
  }
  if (const JsonIndex list = at(keywords, Keyword::kPatternProperties);
      list != kNoJson && is_object(list)) {
    for (JsonIndex in = list + 1; in != tree_[list].next && !done_for(); in = tree_[in].next) {
      const auto names = pattern(in, tree_[in].name);
      if (names) schema.pattern_properties.emplace_back(*names, link_child(in));
    }
  }
  if (const JsonIndex rest = at(keywords, Keyword::kAdditionalProperties); rest != kNoJson) {
    schema.additional = link_child(rest);
    schema.has_additional = true;
  }
  if (const JsonIndex names = at(keywords, Keyword::kPropertyNames); names != kNoJson) {
    schema.property_names = link_child(names);
  }
  if (const JsonIndex names = at(keywords, Keyword::kRequired); names != kNoJson) {
    schema.required = read_names(names);
  }
  read_count_into(at(keywords, Keyword::kMinProperties), schema.min_properties);
  read_count_into(at(keywords, Keyword::kMaxProperties), schema.max_properties);
  build_dependencies(keywords, schema);
  if (const JsonIndex rest = at(keywords, Keyword::kUnevaluatedProperties); rest != kNoJson) {
    schema.unevaluated_properties = link_child(rest);
  }
}

// `dependencies` is both of its successors in one.
void SchemaCompilation::build_dependencies(const Keywords& keywords, Schema& schema) {
  const auto each = [&](Keyword keyword, const auto& visit) {
    const JsonIndex list = at(keywords, keyword);
    if (list == kNoJson || !is_object(list)) return;
    for (JsonIndex in = list + 1; in != tree_[list].next && !done_for(); in = tree_[in].next)
      visit(in);
  };
  const auto add_names = [&](JsonIndex in) {
    schema.dependent_required.emplace_back(tree_[in].name, read_names(in));
  };
  const auto add_schema = [&](JsonIndex in) {
    schema.dependent_schemas.emplace_back(tree_[in].name, link_child(in));
  };
  each(Keyword::kDependentRequired, add_names);
  each(Keyword::kDependentSchemas, add_schema);
  each(Keyword::kDependencies, [&](JsonIndex in) {
    if (tree_[in].kind == JsonKind::kArray)
      add_names(in);
    else
      add_schema(in);
  });
}

void SchemaCompilation::build_applicators(const Keywords& keywords, Schema& schema) {
  if (const JsonIndex list = at(keywords, Keyword::kAllOf); list != kNoJson) {
    schema.all_of = read_schemas(list);
  }
  if (const JsonIndex list = at(keywords, Keyword::kAnyOf); list != kNoJson) {
    schema.any_of.push_back(read_schemas(list));
  }
  if (const JsonIndex list = at(keywords, Keyword::kOneOf); list != kNoJson) {
    schema.one_of.push_back(read_schemas(list));
  }
  if (const JsonIndex inner = at(keywords, Keyword::kNot); inner != kNoJson) {
    schema.none_of.push_back(link_child(inner));
  }
  const JsonIndex condition = at(keywords, Keyword::kIf);
  if (condition == kNoJson) return;
  schema.if_ = link_child(condition);
  if (const JsonIndex branch = at(keywords, Keyword::kThen); branch != kNoJson) {
    schema.then_ = link_child(branch);
  }
  if (const JsonIndex branch = at(keywords, Keyword::kElse); branch != kNoJson) {
    schema.else_ = link_child(branch);
  }
}

void SchemaCompilation::build_references(const Keywords& keywords, Schema& schema) {
  for (const Keyword keyword : {Keyword::kRef, Keyword::kDynamicRef, Keyword::kRecursiveRef}) {
    const JsonIndex reference = at(keywords, keyword);
    if (reference == kNoJson) continue;
    if (const auto target = target_of(reference, keyword, here_)) {
      schema.all_of.push_back(link(*target));
    }
  }
}

}  // namespace tessera::guided
