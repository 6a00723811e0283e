// brute_force_pool.cpp — what a schema speaks of, and a pool of small documents made of it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tests/engine/guided/brute_force.hpp"

namespace tessera::guided {
namespace {

constexpr std::size_t kKept = 4;        // values of a profile
constexpr std::size_t kKeptUnique = 6;  // more than an array has items
constexpr std::size_t kDocuments = 400;
constexpr int kRounds = 2;  // containers in containers
constexpr int kMost = 3;    // items or members that are added

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  std::string out = text;
  while (out.back() == '0') out.pop_back();
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

}  // namespace

BruteForce::BruteForce(Value schema, bool ordered, std::uint64_t most_tries)
    : validator_(std::move(schema)), ordered_(ordered), tries_left_(most_tries) {
  const Value& root = validator_.root();
  for (const char* number : {"0", "1", "-1", "2", "0.5", "10"}) numbers_.insert(number);
  put(kRoot, root);
  collect(root);
  for (const Schemas& schemas : schemas_) {
    // Two of the schemas that stand at such a place may describe one value.
    std::vector<int> items = {0, 0};
    std::vector<int> members = {0, 0};
    for (const Value* one : schemas) {
      const Need most = need(*one, 0);
      items.push_back(most.items);
      members.push_back(most.members);
    }
    std::sort(items.rbegin(), items.rend());
    std::sort(members.rbegin(), members.rend());
    most_items_ = std::clamp(items[0] + items[1], most_items_, kMost);
    most_members_ = std::clamp(members[0] + members[1], most_members_, kMost);
  }
  make_alphabet(root.dump());
  make_pool();
}

std::size_t BruteForce::put(Role role, const Value& schema) {
  Schemas& schemas = schemas_[role];
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    if (schemas[i] == &schema || *schemas[i] == schema) return i;
  }
  schemas.push_back(&schema);
  if (schemas.size() > 64) {
    std::fprintf(stderr, "too many schemas for a profile\n");
    std::abort();
  }
  return schemas.size() - 1;
}

// `how` is the keyword; `name` the property or the pattern, where it has one.
void BruteForce::put_member(const Value& schema, const char* how, const std::string& name) {
  const std::size_t at = put(kMember, schema);
  reach_.resize(schemas_[kMember].size());
  if (how == std::string_view("properties")) {
    reach_[at].names.insert(name);
  } else if (how == std::string_view("patternProperties")) {
    reach_[at].patterns.insert(name);
  } else {
    reach_[at].all = true;
  }
}

const Value& BruteForce::own(const char* keyword, const Value& argument) {
  Value& schema = owned_.emplace_back(Value::object());
  schema[keyword] = argument;
  return schema;
}

void BruteForce::mention(const std::string& name) {
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) return;
  names_.push_back(name);
  put(kName, own("const", name));
}

void BruteForce::collect(const Value& schema) {
  if (!schema.is_object()) return;
  for (const auto& [keyword, argument] : schema.items()) collect_part(keyword, argument);
}

void BruteForce::collect_part(const std::string& keyword, const Value& argument) {
  const auto below = [&](Role role, const Value& part) {
    put(role, part);
    collect(part);
  };
  const auto is = [&](std::initializer_list<const char*> any) {
    return std::any_of(any.begin(), any.end(), [&](const char* one) { return keyword == one; });
  };
  if (is({"properties", "patternProperties"})) {
    for (const auto& [name, part] : argument.items()) {
      put_member(part, keyword.c_str(), name);
      collect(part);
      if (keyword == "properties") {
        mention(name);
      } else {
        put(kName, own("pattern", name));
      }
    }
  } else if (is({"additionalProperties", "unevaluatedProperties"})) {
    put_member(argument, keyword.c_str());
    collect(argument);
  } else if (is({"items", "contains", "unevaluatedItems"})) {
    below(kItem, argument);
  } else if (is({"prefixItems"})) {
    for (const Value& part : argument) below(kItem, part);
  } else if (is({"propertyNames"})) {
    below(kName, argument);
  } else if (is({"required"})) {
    for (const Value& name : argument) mention(name);
  } else if (is({"dependentRequired", "dependentSchemas", "$defs"})) {
    for (const auto& [name, part] : argument.items()) {
      if (keyword != "$defs") mention(name);
      if (keyword != "dependentRequired") collect(part);
      if (keyword == "dependentRequired") collect_part("required", part);
    }
  } else if (is({"allOf", "anyOf", "oneOf"})) {
    for (const Value& part : argument) collect(part);
  } else if (is({"not", "if", "then", "else"})) {
    collect(argument);
  } else if (is({"const"})) {
    collect_constant(argument);
  } else if (is({"enum"})) {
    for (const Value& one : argument) collect_constant(one);
  } else if (is({"uniqueItems"})) {
    unique_ = unique_ || argument.get<bool>();
  } else if (is({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) {
    collect_number(argument, keyword == "multipleOf");
  }
}

// How many items or members it can take until the value of `schema` is what it must be: those of a
// conjunction add up, of alternatives the largest counts.
BruteForce::Need BruteForce::need(const Value& schema, int depth) const {
  Need out;
  if (!schema.is_object() || depth > 8) return out;
  const auto most = [](Need& into, const Need& other) {
    into.items = std::max(into.items, other.items);
    into.members = std::max(into.members, other.members);
  };
  const auto count = [&](const char* keyword) {
    return schema.contains(keyword) ? schema[keyword].get<int>() : 0;
  };
  const auto of_constant = [&](const Value& constant) {
    const auto size = static_cast<int>(constant.size());
    most(out, {constant.is_array() ? size : 0, constant.is_object() ? size : 0});
  };
  if (schema.contains("const")) of_constant(schema["const"]);
  if (schema.contains("enum")) {
    for (const Value& one : schema["enum"]) of_constant(one);
  }
  most(out, {std::max(count("minItems"), count("maxItems") + 1), count("minProperties")});
  if (schema.contains("required")) {
    out.members = std::max(out.members, static_cast<int>(schema["required"].size()));
  }
  Need more;
  if (schema.contains("contains")) {
    more.items += std::max(1, count("minContains"));
    // None of those that the prefix speaks of may be one that it must contain.
    if (schema.contains("prefixItems"))
      more.items += static_cast<int>(schema["prefixItems"].size());
  }
  if (schema.contains("dependentRequired") || schema.contains("dependentSchemas"))
    more.members += 1;
  const auto add = [&](const Need& other) {
    more.items += other.items;
    more.members += other.members;
  };
  for (const char* keyword : {"anyOf", "oneOf"}) {
    Need largest;
    if (!schema.contains(keyword)) continue;
    if (keyword == std::string_view("oneOf")) largest = {1, 1};  // which may have to be broken
    for (const Value& part : schema[keyword]) most(largest, need(part, depth + 1));
    add(largest);
  }
  if (schema.contains("allOf")) {
    for (const Value& part : schema["allOf"]) add(need(part, depth + 1));
  }
  Need branches;
  for (const char* keyword : {"if", "then", "else", "not"}) {
    if (schema.contains(keyword)) most(branches, need(schema[keyword], depth + 1));
  }
  if (schema.contains("not") || schema.contains("if")) most(branches, {1, 1});
  add(branches);
  if (schema.contains("$ref")) {
    const std::string pointer = schema["$ref"].get<std::string>().substr(1);
    add(need(validator_.root().at(Value::json_pointer(pointer)), depth + 1));
  }
  return {out.items + more.items, out.members + more.members};
}

// A constant container is told apart by its parts, so each of them is a schema where it stands.
void BruteForce::collect_constant(const Value& constant) {
  constants_.push_back(constant);
  if (constant.is_number()) collect_number(constant, false);
  if (constant.is_array()) {
    for (const Value& item : constant) {
      put(kItem, own("const", item));
      collect_constant(item);
    }
  }
  if (constant.is_object()) {
    for (const auto& [name, member] : constant.items()) {
      mention(name);
      put_member(own("const", member), "properties", name);
      collect_constant(member);
    }
  }
}

void BruteForce::collect_number(const Value& number, bool divisor) {
  const auto value = number.get<double>();
  for (const double step : {-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0}) {
    numbers_.insert(number_text(value + step));
  }
  if (!divisor) return;
  for (int i = -40; i <= 40; ++i) numbers_.insert(number_text(value * i));
}

// Characters of the schema's own strings and patterns stand for themselves, any other for its kind.
void BruteForce::make_alphabet(const std::string& schema) {
  for (const char32_t c : from_utf8(schema)) {
    if (special_.find(c) == CodePoints::npos) special_ += c;
  }
  // A range tells its inner ones from the others, too.
  if (schema.find("[a-c]") != std::string::npos) special_ += U'b';
  CodePoints alphabet;
  const auto use = [&](char32_t c) {
    if (alphabet.find(c) == CodePoints::npos) alphabet += c;
  };
  for (const char32_t c : {U'a', U'b', U'7', U'z'}) use(c);
  for (const char32_t c : {U'-', U'Q', U'x', U'é'}) {
    const CodePoints one(1, c);
    if (schema.find(to_utf8(one)) != std::string::npos) use(c);
  }
  if (schema.find("[A-Z]") != std::string::npos) use(U'Q');
  tails_.emplace_back();
  for (std::size_t begin = 0, length = 0; length < 3; ++length) {
    const std::size_t end = tails_.size();
    for (; begin < end; ++begin) {
      for (const char32_t c : alphabet) tails_.push_back(tails_[begin] + c);
    }
  }
}

void BruteForce::make_pool() {
  for (const bool word : {false, true}) put_into_pool(word);
  put_into_pool(nullptr);
  put_into_pool(Value::array());
  put_into_pool(Value::object());
  for (const std::string& number : numbers_) put_into_pool(Value::parse(number));
  for (const Value& constant : constants_) put_into_pool(constant);
  for (const CodePoints& tail : tails_) put_into_pool(to_utf8(tail));
  end_string({}, pool_[kName], kName);
  for (int round = 0; round < kRounds; ++round) add_containers();
}

void BruteForce::put_into_pool(const Value& value) {
  for (const Role role : {kRoot, kItem, kMember}) add(pool_[role], role, value);
  if (documents_.size() < kDocuments && profile(kRoot, value) != 0) documents_.push_back(value);
}

std::vector<Value> BruteForce::representatives(Role role) const {
  std::vector<Value> all;
  for (const auto& [profile, values] : pool_[role]) {
    all.insert(all.end(), values.begin(), unique_ ? values.end() : values.begin() + 1);
  }
  return all;
}

BruteForce::Profile BruteForce::reach(const std::string& name) const {
  Profile out = 0;
  for (std::size_t i = 0; i < reach_.size(); ++i) {
    const bool reaches =
        reach_[i].all || reach_[i].names.contains(name) ||
        std::any_of(reach_[i].patterns.begin(), reach_[i].patterns.end(),
                    [&](const auto& one) { return validator_.matches(one, name); });
    if (reaches) out |= Profile{1} << i;
  }
  return out;
}

// Of `choices`, those that differ as the value of `name`.
std::vector<Value> BruteForce::members_for(const std::string& name, const Choices& choices) const {
  std::map<Profile, std::size_t> taken;
  std::vector<Value> members;
  const Profile mask = reach(name);
  for (const auto& [profile, values] : choices) {
    for (const Value& value : values) {
      if (taken[profile & mask]++ < (unique_ ? 3 : 1)) members.push_back(value);
    }
  }
  return members;
}

const std::vector<Value>& BruteForce::new_members_for(const std::string& name) {
  const auto [found, is_new] = new_members_.try_emplace(name);
  if (is_new) found->second = members_for(name, pool_[kMember]);
  return found->second;
}

std::vector<std::string> BruteForce::candidate_names(std::size_t fresh) const {
  std::vector<std::string> names = names_;
  for (const auto& [profile, values] : pool_[kName]) {
    std::size_t taken = 0;
    for (const Value& value : values) {
      const auto& name = value.get_ref<const std::string&>();
      if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
      if (taken++ < fresh) names.push_back(name);
    }
  }
  return names;
}

void BruteForce::add_containers() {
  std::vector<Value> arrays = {Value::array()};
  const auto items = representatives(kItem);
  for (std::size_t begin = 0, round = 0; round < static_cast<std::size_t>(most_items_); ++round) {
    const std::size_t end = arrays.size();
    for (; begin < end && arrays.size() < 3000; ++begin) {
      for (const Value& item : items) {
        arrays.push_back(arrays[begin]);
        arrays.back().push_back(item);
      }
    }
  }
  std::vector<std::pair<Value, std::size_t>> objects = {{Value::object(), 0}};
  const auto names = candidate_names(most_members_ > 2 && names_.size() < 3 ? 3 : 1);
  for (std::size_t begin = 0, round = 0; round < static_cast<std::size_t>(most_members_); ++round) {
    const std::size_t end = objects.size();
    for (; begin < end && objects.size() < 6000; ++begin) {
      for (std::size_t i = objects[begin].second; i < names.size(); ++i) {
        for (const Value& member : new_members_for(names[i])) {
          objects.emplace_back(objects[begin].first, i + 1);
          objects.back().first[names[i]] = member;
        }
      }
    }
  }
  new_members_.clear();  // there will be more to choose from
  for (const Value& array : arrays) put_into_pool(array);
  for (const auto& [object, from] : objects) put_into_pool(object);
}

BruteForce::Profile BruteForce::profile(Role role, const Value& value) const {
  const std::size_t tries = schemas_[role].size();
  if (tries > tries_left_) throw TooMuchToTry{};
  tries_left_ -= tries;
  Profile out = 0;
  for (std::size_t i = 0; i < tries; ++i) {
    if (validator_.valid(*schemas_[role][i], value)) out |= Profile{1} << i;
  }
  return out;
}

void BruteForce::add(Choices& choices, Role role, const Value& value) const {
  std::vector<Value>& values = choices[profile(role, value)];
  if (values.size() >= (unique_ ? kKeptUnique : kKept)) return;
  if (std::any_of(values.begin(), values.end(), [&](const Value& v) { return same(v, value); })) {
    return;
  }
  values.push_back(value);
}

}  // namespace tessera::guided
