#include <functional>

#include "tests/engine/guided/hostile/hostile_cases.hpp"

namespace tessera::guided {
namespace {

using Text = std::string;

Text number(std::size_t i) {
  return std::to_string(i);
}

// before + part(0) + "," + part(1) + ... + after
Text list(std::size_t n, const Text& before, const std::function<Text(std::size_t)>& part,
          const Text& after) {
  Text text = before;
  for (std::size_t i = 0; i < n; ++i) text += (i == 0 ? "" : ",") + part(i);
  return text + after;
}

Text nested(std::size_t n, const Text& before, const Text& core, const Text& after) {
  Text text;
  for (std::size_t i = 0; i < n; ++i) text += before;
  text += core;
  for (std::size_t i = 0; i < n; ++i) text += after;
  return text;
}

// {"anyOf": [x, x, x]} with as much again inside each.
Text branching(const Text& keyword, int depth, int width, const std::function<Text(int)>& leaf,
               int& leaves) {
  if (depth == 0) return leaf(leaves++);
  return list(
      static_cast<std::size_t>(width), "{\"" + keyword + "\":[",
      [&](std::size_t) { return branching(keyword, depth - 1, width, leaf, leaves); }, "]}");
}

Text object_with(int i) {
  return R"({"type":"object","properties":{"k)" + number(static_cast<std::size_t>(i)) +
         R"(":{"type":"string"},"s":{"type":"integer"}},"required":["s"]})";
}

Text const_object(int i) {
  const auto n = number(static_cast<std::size_t>(i));
  return R"({"type":"object","properties":{"kind":{"const":"k)" + n + R"("},"v)" + n +
         R"(":{"type":"number"}},"required":["kind"]})";
}

Text properties(std::size_t n, const Text& each, const Text& prefix = "p") {
  return list(
      n, "\"properties\":{",
      [&](std::size_t i) { return "\"" + prefix + number(i) + "\":" + each; }, "}");
}

class Cases {
 public:
  void add(const Text& name, Text schema, PropertyOrder order = PropertyOrder::kSchema) {
    ConstraintSpec spec;
    spec.kind = ConstraintKind::kJsonSchema;
    spec.source = std::move(schema);
    spec.document.property_order = order;
    // Counts in the thousands of millions, and texts of a million parts.
    const bool endless = name.find("10^") != Text::npos || name.find("million") != Text::npos ||
                         name.find("huge") != Text::npos || name.find("100,000 of") != Text::npos;
    cases.push_back({name, std::move(spec), endless});
  }
  void add_any_order(const Text& name, Text schema) {
    add(name, std::move(schema), PropertyOrder::kAny);
  }

  std::vector<HostileCase> cases;
};

void add_strings(Cases& to) {
  to.add("free string", R"({"type":"string"})");
  to.add("maxLength 100,000", R"({"type":"string","maxLength":100000})");
  to.add("maxLength 2,000", R"({"type":"string","maxLength":2000})");
  to.add("minLength 500", R"({"type":"string","minLength":500})");
  to.add("minLength 10^9", R"({"type":"string","minLength":1000000000})");
  to.add("maxLength 10^30", R"({"type":"string","maxLength":1e30})");
  to.add("minLength above maxLength", R"({"type":"string","minLength":5,"maxLength":3})");
  to.add("words", R"({"type":"string","pattern":"^([A-Za-z]+[ ,.]*)+$"})");
  to.add("pattern and lengths",
         R"({"type":"string","pattern":"^[a-z ,A-Z]*$","minLength":100,"maxLength":5000})");
  to.add("pattern and an odd length",
         R"({"type":"string","pattern":"^(ab)*$","minLength":999,"maxLength":999})");
  to.add("cubed repetition", R"({"type":"string","pattern":"^((a{1,100}){1,100}){1,100}$"})");
  to.add("deterministic blow-up", R"({"type":"string","pattern":"^.*a.{15}$"})");
  to.add("deterministic blow-up, 200", R"({"type":"string","pattern":"^.*a.{200}$"})");
  to.add("two blow-ups", R"({"allOf":[{"type":"string","pattern":"a.{30}b"},{")"
                         R"(pattern":"c.{30}d"},{"pattern":"e.{30}f"}]})");
  to.add("enum of 5,000 strings",
         list(
             5'000, R"({"enum":[)",
             [](std::size_t i) { return "\"value number " + number(i * 7919) + "\""; }, "]}"));
  to.add("enum of 50,000 strings",
         list(
             50'000, R"({"enum":[)", [](std::size_t i) { return "\"" + number(i * 104729) + "\""; },
             "]}"));
  to.add("enum of 60,000 strings",
         list(
             60'000, R"({"enum":[)", [](std::size_t i) { return "\"" + number(i) + "\""; }, "]}"));
  to.add("enum of long strings",
         list(
             40, R"({"enum":[)",
             [](std::size_t i) { return "\"" + Text(20'000, 'a') + number(i) + "\""; }, "]}"));
  to.add("not an enum of 5,000",
         list(
             5'000, R"({"type":"string","not":{"enum":[)",
             [](std::size_t i) { return "\"v" + number(i) + "\""; }, "]}}"));
  to.add("not of not of not", nested(40, R"({"not":)", R"({"type":"string"})", "}"));
  to.add("surrogates and escapes", R"({"enum":["\ud83d\ude00","\u0000","\"\\\/\b","\uffff","é"]})");
  to.add("a lone surrogate", R"({"enum":["\ud83d"]})");
  to.add("overlong text", "{\"const\":\"\xC0\xAF\"}");
  to.add("pattern of supplementary planes",
         "{\"type\":\"string\",\"pattern\":\"^[\\\\u{1F600}-\\\\u{1F64F}]{3,9}$\"}");
  to.add("pattern of properties",
         R"({"type":"string","pattern":"^\\p{L}[\\p{L}\\p{N}\\p{M}]{0,63}$"})");
  to.add("pattern of negated properties",
         R"({"type":"string","pattern":"^(\\P{Lu}\\p{Script=Greek}|[^\\p{L}]){5,}$"})");
  to.add("strings of every format", R"({"allOf":[{"type":"string"},{"anyOf":[{"format":"u)"
                                    R"(ri"},{"format":"email"},{"format":"ipv6"},{"format)"
                                    R"(":"idn-email"},{"format":"iri-reference"},{"format)"
                                    R"(":"uri-template"}]},{"not":{"format":"hostname"}}])"
                                    R"(})");
  to.add("formats that exclude each other",
         R"({"type":"string","allOf":[{"format":"ipv4"},{"format":"date"}]})");
  to.add("format and length",
         R"({"type":"string","format":"uri","minLength":200,"maxLength":2083})");
}

void add_numbers(Cases& to) {
  to.add("huge minimum", R"({"type":"number","minimum":1e999999})");
  to.add("huge integer minimum", R"({"type":"integer","minimum":1e999999})");
  to.add("absurd exponent", R"({"type":"number","minimum":1e99999999999999999999})");
  to.add("integer between two huge", R"({"type":"integer","minimum":)" + Text(5'000, '9') +
                                         R"(,"maximum":)" + Text(5'001, '9') + "}");
  to.add("tiny multiple", R"({"type":"number","multipleOf":1e-300})");
  to.add("tinier multiple", R"({"type":"number","multipleOf":1e-999999})");
  to.add("large prime multiple", R"({"type":"integer","multipleOf":1000003,"minimum":1)"
                                 R"(00000000000000000,"maximum":999999999999999999})");
  to.add("multiple of a word", R"({"type":"integer","multipleOf":9223372036854775783})");
  to.add("multiple of more than a word",
         R"({"type":"integer","multipleOf":9223372036854775837000000007})");
  to.add("fractional multiple",
         R"({"type":"number","multipleOf":0.123456789,"minimum":-1e15,"maximum":1e15})");
  to.add("no multiple between", R"({"type":"integer","multipleOf":1000003,"exclusiveM)"
                                R"(inimum":1000003,"exclusiveMaximum":2000006})");
  to.add("coprime multiples", R"({"allOf":[{"multipleOf":99991},{"multipleOf":99989)"
                              R"(},{"multipleOf":99971}],"type":"integer"})");
  to.add("coprime multiples and not",
         R"({"type":"integer","multipleOf":99991,"not":{"multipleOf":99989}})");
  to.add("multiples of three and of none", R"({"type":"integer","allOf":[{"not":{"multipleOf":2})"
                                           R"(},{"not":{"multipleOf":3}},{"not":{"multipleOf":5})"
                                           R"(},{"not":{"multipleOf":7}},{"not":{"multipleOf":11)"
                                           R"(}},{"not":{"multipleOf":13}}]})");
  to.add("oneOf multiples", R"({"type":"integer","oneOf":[{"multipleOf":7},{"mult)"
                            R"(ipleOf":11},{"multipleOf":13},{"multipleOf":17}]})");
  to.add("oneOf multiples and a range", R"({"type":"integer","minimum":0,"maximum":1000000000)"
                                        R"(000,"oneOf":[{"multipleOf":997},{"multipleOf":991})"
                                        R"(,{"multipleOf":983}]})");
  to.add("a thousand ranges", list(
                                  1'000, R"({"type":"number","anyOf":[)",
                                  [](std::size_t i) {
                                    return R"({"minimum":)" + number(3 * i) +
                                           R"(,"exclusiveMaximum":)" + number(3 * i + 1) + "}";
                                  },
                                  "]}"));
  to.add("a thousand ranges, exactly one", list(
                                               1'000, R"({"type":"integer","oneOf":[)",
                                               [](std::size_t i) {
                                                 return R"({"minimum":)" + number(2 * i) +
                                                        R"(,"maximum":)" + number(2 * i + 2) + "}";
                                               },
                                               "]}"));
  to.add("enum of 20,000 numbers",
         list(
             20'000, R"({"enum":[)",
             [](std::size_t i) { return number(i) + "." + number(i * 31 + 1); }, "]}"));
  to.add("numbers of all exponents",
         list(
             3'000, R"({"enum":[)", [](std::size_t i) { return "1e" + number(i * 300); }, "]}"));
  to.add("empty range", R"({"type":"number","exclusiveMinimum":1,"maximum":1})");
  to.add("empty integer range", R"({"type":"integer","exclusiveMinimum":1,"exclusiveMaximum":2})");
  to.add("a million digits", R"({"type":"number","maximum":)" + Text(900'000, '7') + "}");
  to.add("a hundred thousand fraction digits", R"({"type":"number","minimum":0.)" +
                                                   Text(100'000, '3') + R"(,"maximum":0.)" +
                                                   Text(99'999, '3') + "4}");
  to.add("multiple of zero", R"({"multipleOf":0})");
}

void add_objects(Cases& to) {
  const Text string = R"({"type":"string"})";
  to.add("2,000 optional properties", "{\"type\":\"object\"," + properties(2'000, string) + "}");
  to.add_any_order("2,000 optional properties in any order",
                   "{\"type\":\"object\"," + properties(2'000, string) + "}");
  to.add_any_order(
      "2,000 optional properties, closed",
      "{\"type\":\"object\",\"additionalProperties\":false," + properties(2'000, string) + "}");
  to.add_any_order("2,000 required properties in any order",
                   "{\"type\":\"object\",\"additionalProperties\":false," +
                       properties(2'000, string) +
                       list(
                           2'000, ",\"required\":[",
                           [](std::size_t i) { return "\"p" + number(i) + "\""; }, "]}"));
  to.add("19,000 properties",
         "{\"type\":\"object\",\"additionalProperties\":false," + properties(19'000, "true") + "}");
  to.add("30,000 properties", "{\"type\":\"object\"," + properties(30'000, "true") + "}");
  to.add("properties with a common prefix", "{\"type\":\"object\",\"additionalProperties\":false," +
                                                properties(1'000, string, Text(200, 'x')) + "}");
  to.add("required without properties",
         list(
             1'000, R"({"type":"object","required":[)",
             [](std::size_t i) { return "\"r" + number(i) + "\""; }, "]}"));
  to.add("minProperties 10,000", R"({"type":"object","minProperties":10000})");
  to.add("minProperties 10^12", R"({"type":"object","minProperties":1000000000000})");
  to.add("minProperties of names too few",
         R"({"type":"object","minProperties":11,"propertyNames":{"pattern":"^[a-e][01]$"}})");
  to.add("minProperties of names just enough",
         R"({"type":"object","minProperties":10,"propertyNames":{"pattern":"^[a-e][01]$"}})");
  to.add_any_order("maxProperties below required",
                   R"({"type":"object","maxProperties":2,"required":["a","b","c"]})");
  to.add("propertyNames that refuse the required",
         R"({"type":"object","required":["abc"],"propertyNames":{"maxLength":2}})");
  to.add("propertyNames false and required",
         R"({"type":"object","required":["a"],"propertyNames":false})");
  to.add("propertyNames of an enum",
         list(
             500, R"({"type":"object","minProperties":400,"propertyNames":{"enum":[)",
             [](std::size_t i) { return "\"n" + number(i) + "\""; }, "]}}"));
  to.add("patternProperties that overlap", list(
                                               40, R"({"type":"object","patternProperties":{)",
                                               [](std::size_t i) {
                                                 return "\"^.{" + number(i) +
                                                        "}a\":{\"minLength\":" + number(i) +
                                                        ",\"type\":\"string\"}";
                                               },
                                               "}}"));
  to.add("patternProperties that contradict",
         R"({"type":"object","minProperties":1,"patternPropert)"
         R"(ies":{"a":{"type":"string"},"^.*$":{"type":"intege)"
         R"(r"}},"required":["xax"]})");
  to.add("200 patternProperties",
         list(
             200, R"({"type":"object","additionalProperties":false,"patternProperties":{)",
             [](std::size_t i) {
               return "\"^k" + number(i) + "_[a-z]{1,20}$\":{\"type\":\"integer\"}";
             },
             "}}"));
  to.add("dependencies in a ring", list(
                                       300, R"({"type":"object","dependentRequired":{)",
                                       [](std::size_t i) {
                                         return "\"d" + number(i) + "\":[\"d" +
                                                number((i + 1) % 300) + "\"]";
                                       },
                                       "}}"));
  to.add_any_order("dependencies in a ring, any order",
                   list(
                       300,
                       R"({"type":"object","minProperties":1,"additionalProperties":false,)" +
                           properties(300, "true", "d") + R"(,"dependentRequired":{)",
                       [](std::size_t i) {
                         return "\"d" + number(i) + "\":[\"d" + number((i + 1) % 300) + "\"]";
                       },
                       "}}"));
  to.add("dependentSchemas that contradict", R"({"type":"object","required":["a"],"dependentSchema)"
                                             R"(s":{"a":{"required":["b"]},"b":{"properties":{"a":)"
                                             R"(false}}}})");
  to.add_any_order("dependentSchemas, many", list(
                                                 60, R"({"type":"object","dependentSchemas":{)",
                                                 [](std::size_t i) {
                                                   return "\"d" + number(i) +
                                                          R"(":{"properties":{"x":{"multipleOf":)" +
                                                          number(i + 2) + "}}}";
                                                 },
                                                 R"(},"properties":{"x":{"type":"integer"}}})"));
  to.add("deep objects",
         nested(60, R"({"type":"object","required":["a"],"properties":{"a":)", string, "}}"));
  to.add("an object that never ends",
         R"({"type":"object","required":["a"],"properties":{"a":{"$ref":"#"}}})");
  to.add("unevaluatedProperties over many branches",
         list(
             12, R"({"type":"object","unevaluatedProperties":false,"anyOf":[)",
             [](std::size_t i) {
               return R"({"properties":{"u)" + number(i) +
                      R"(":{"type":"integer"}},"required":["u)" + number(i) + "\"]}";
             },
             "]}"));
  to.add("unevaluatedProperties over 40 branches",
         list(
             40, R"({"type":"object","unevaluatedProperties":false,"anyOf":[)",
             [](std::size_t i) {
               return R"({"properties":{"u)" + number(i) + R"(":{"type":"integer"}}})";
             },
             "]}"));
}

void add_arrays(Cases& to) {
  to.add("minItems 10^9", R"({"type":"array","minItems":1000000000})");
  to.add("minItems 100,000 of objects",
         R"({"type":"array","minItems":100000,"items":{"type":"object","required":["a"]}})");
  to.add("maxItems below minItems", R"({"type":"array","minItems":3,"maxItems":2})");
  to.add("uniqueItems of booleans",
         R"({"type":"array","uniqueItems":true,"items":{"type":"boolean"},"minItems":3})");
  to.add("uniqueItems of two booleans",
         R"({"type":"array","uniqueItems":true,"items":{"type":"boolean"},"minItems":2})");
  to.add("uniqueItems 10,000",
         R"({"type":"array","uniqueItems":true,"minItems":10000,"items":{"type":"integer"}})");
  to.add("uniqueItems of a range just enough",
         R"({"type":"array","uniqueItems":true,"minItems":100,)"
         R"("items":{"type":"integer","minimum":1,"maximum":10)"
         R"(0}})");
  to.add("uniqueItems of a range too small", R"({"type":"array","uniqueItems":true,"minItems":101,)"
                                             R"("items":{"type":"integer","minimum":1,"maximum":10)"
                                             R"(0}})");
  to.add("uniqueItems of objects", R"({"type":"array","uniqueItems":true,"minItems":5,"i)"
                                   R"(tems":{"type":"object","additionalProperties":fals)"
                                   R"(e,"properties":{"a":{"type":"boolean"},"b":{"type")"
                                   R"(:"boolean"}}}})");
  to.add("uniqueItems of too few objects", R"({"type":"array","uniqueItems":true,"minItems":10,")"
                                           R"(items":{"type":"object","additionalProperties":fal)"
                                           R"(se,"properties":{"a":{"type":"boolean"},"b":{"type)"
                                           R"(":"boolean"}}}})");
  to.add("uniqueItems of arrays of arrays", R"({"type":"array","uniqueItems":true,"minItems":4,"i)"
                                            R"(tems":{"type":"array","uniqueItems":true,"maxItems)"
                                            R"(":2,"items":{"enum":[0,1]}}})");
  to.add("uniqueItems of an enum of 5,000",
         list(
             5'000, R"({"type":"array","uniqueItems":true,"minItems":4999,"items":{"enum":[)",
             [](std::size_t i) { return number(i); }, "]}}"));
  to.add("contains 10,000", R"({"type":"array","contains":{"const":1},"minContains":10000})");
  to.add("contains 10^12",
         R"({"type":"array","contains":{"const":1},"minContains":1000000000000})");
  to.add("contains more than maxItems",
         R"({"type":"array","contains":{"const":1},"minContains":5,"maxItems":4})");
  to.add("contains what items refuse",
         R"({"type":"array","items":{"type":"string"},"contains":{"type":"integer"}})");
  to.add("twenty contains", list(
                                20, R"({"type":"array","maxItems":20,"allOf":[)",
                                [](std::size_t i) {
                                  return R"({"contains":{"multipleOf":)" + number(i + 2) +
                                         R"(,"type":"integer"}})";
                                },
                                "]}"));
  to.add("twenty contains of constants, unique",
         list(
             20, R"({"type":"array","uniqueItems":true,"maxItems":20,"allOf":[)",
             [](std::size_t i) { return R"({"contains":{"const":)" + number(i) + "}}"; }, "]}"));
  to.add("contains exactly", R"({"type":"array","contains":{"type":"integer","mini)"
                             R"(mum":10},"minContains":50,"maxContains":50,"minIte)"
                             R"(ms":100,"maxItems":100,"items":{"type":"integer"}})");
  to.add("10,000 prefix items", list(
                                    10'000, R"({"type":"array","items":false,"prefixItems":[)",
                                    [](std::size_t i) {
                                      return i % 2 == 0 ? Text(R"({"type":"integer"})")
                                                        : Text(R"({"type":"string"})");
                                    },
                                    "]}"));
  to.add("a prefix that cannot be",
         R"({"type":"array","minItems":3,"prefixItems":[true,true,false]})");
  to.add("deep arrays",
         nested(60, R"({"type":"array","minItems":1,"items":)", R"({"type":"integer"})", "}"));
  to.add("arrays too deep for the schema", nested(500, R"({"type":"array","items":)", "true", "}"));
  to.add("an array that never ends", R"({"type":"array","minItems":1,"items":{"$ref":"#"}})");
  to.add("an array twice as wide at each level",
         R"({"$defs":{"a":{"type":"array","prefixItems":[{"$re)"
         R"(f":"#/$defs/b"},{"$ref":"#/$defs/b"}],"minItems":2)"
         R"(},"b":{"type":"array","prefixItems":[{"$ref":"#/$d)"
         R"(efs/c"},{"$ref":"#/$defs/c"}],"minItems":2},"c":{")"
         R"(type":"array","prefixItems":[{"$ref":"#/$defs/d"},)"
         R"({"$ref":"#/$defs/d"}],"minItems":2},"d":{"type":"i)"
         R"(nteger"}},"$ref":"#/$defs/a"})");
  to.add("unevaluatedItems and contains", R"({"type":"array","minItems":10,"contains":{"type":")"
                                          R"(string","pattern":"^a"},"minContains":2,"unevaluat)"
                                          R"(edItems":{"type":"integer"}})");
}

void add_logic(Cases& to) {
  for (const auto* keyword : {"anyOf", "oneOf", "allOf"}) {
    int leaves = 0;
    to.add(Text(keyword) + " nested 6 deep, 3 wide", branching(keyword, 6, 3, object_with, leaves));
    leaves = 0;
    to.add(Text(keyword) + " nested 12 deep, 2 wide",
           branching(keyword, 12, 2, object_with, leaves));
    leaves = 0;
    to.add(Text(keyword) + " of 300 objects", branching(keyword, 1, 300, object_with, leaves));
    leaves = 0;
    to.add(Text(keyword) + " of 2,000 kinds", branching(keyword, 1, 2'000, const_object, leaves));
    leaves = 0;
    to.add_any_order(Text(keyword) + " of 60 objects, any order",
                     branching(keyword, 1, 60, object_with, leaves));
  }
  to.add("a product of choices",
         list(
             12, R"({"type":"object","allOf":[)",
             [](std::size_t i) {
               return R"({"oneOf":[{"properties":{"x)" + number(i) +
                      R"(":{"const":1}},"required":["x)" + number(i) + R"("]},{"properties":{"x)" +
                      number(i) + R"(":{"const":2}},"required":["x)" + number(i) + "\"]}]}";
             },
             "]}"));
  to.add_any_order("a product of 30 choices", list(
                                                  30, R"({"type":"object","allOf":[)",
                                                  [](std::size_t i) {
                                                    return R"({"anyOf":[{"required":["a)" +
                                                           number(i) + R"("]},{"required":["b)" +
                                                           number(i) + "\"]}]}";
                                                  },
                                                  "]}"));
  // Satisfiability itself: clauses over the presence of names.
  to.add_any_order("a formula of 60 clauses",
                   list(
                       60,
                       R"({"type":"object","additionalProperties":false,)" +
                           properties(20, "true", "v") + R"(,"allOf":[)",
                       [](std::size_t i) {
                         const auto literal = [&](std::size_t k) {
                           const auto v = (i * 7 + k * 13 + i * i * k) % 20;
                           const Text has = R"({"required":["v)" + number(v) + "\"]}";
                           return (i + k) % 2 == 0 ? has : R"({"not":)" + has + "}";
                         };
                         return R"({"anyOf":[)" + literal(1) + "," + literal(2) + "," + literal(3) +
                                "]}";
                       },
                       "]}"));
  to.add("a contradiction of 2^12 cases", list(
                                              12, R"({"type":"object","allOf":[)",
                                              [](std::size_t i) {
                                                return R"({"anyOf":[{"required":["a)" + number(i) +
                                                       R"("]},{"required":["b)" + number(i) +
                                                       "\"]}]}";
                                              },
                                              R"(,{"maxProperties":11}]})"));
  to.add("if-then-else in a chain",
         nested(50, R"({"if":{"properties":{"t":{"const":1}}},"then":{"required":["a"]},"else":)",
                "{}", "}"));
  to.add("if-then-else beside each other",
         list(
             30, R"({"type":"object","allOf":[)",
             [](std::size_t i) {
               return R"({"if":{"properties":{"t)" + number(i) +
                      R"(":{"const":1}},"required":["t)" + number(i) +
                      R"("]},"then":{"required":["a)" + number(i) +
                      R"("]},"else":{"required":["b)" + number(i) + "\"]}}";
             },
             "]}"));
  to.add("nothing", "false");
  to.add("not everything", R"({"not":{}})");
  to.add("a type that is excluded", R"({"type":"string","not":{"type":"string"}})");
  to.add("an enum that is refused", R"({"enum":[1,2,3],"type":"string"})");
  to.add("oneOf the same", R"({"oneOf":[{"type":"string"},{"type":"string"}]})");
  to.add("not an object of many",
         "{\"not\":{\"type\":\"object\"," + properties(300, R"({"type":"string"})") + "}}");
  to.add("not of a product", list(
                                 20, R"({"type":"object","not":{"allOf":[)",
                                 [](std::size_t i) {
                                   return R"({"properties":{"x)" + number(i) +
                                          R"(":{"type":"integer"}}})";
                                 },
                                 "]}}"));
  to.add("anyOf of 20,000 constants",
         list(
             20'000, R"({"anyOf":[)",
             [](std::size_t i) { return R"({"const":"c)" + number(i) + "\"}"; }, "]}"));
  to.add("oneOf of 5,000 constants",
         list(
             5'000, R"({"oneOf":[)", [](std::size_t i) { return R"({"const":)" + number(i) + "}"; },
             "]}"));
}

void add_references(Cases& to) {
  to.add("a chain of 500 references",
         list(
             500, R"({"$ref":"#/$defs/d0","$defs":{)",
             [](std::size_t i) {
               return "\"d" + number(i) + "\":" +
                      (i == 499 ? Text(R"({"type":"integer"})")
                                : R"({"$ref":"#/$defs/d)" + number(i + 1) + "\"}");
             },
             "}}"));
  to.add("a chain of 20,000 references",
         list(
             20'000, R"({"$ref":"#/$defs/d0","$defs":{)",
             [](std::size_t i) {
               return "\"d" + number(i) + "\":" +
                      (i == 19'999 ? Text(R"({"type":"integer"})")
                                   : R"({"$ref":"#/$defs/d)" + number(i + 1) + "\"}");
             },
             "}}"));
  to.add("a reference to itself", R"({"$ref":"#"})");
  to.add("a ring of references",
         R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})");
  to.add("a ring with an assertion", R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/)"
                                     R"(b","type":"string"},"b":{"$ref":"#/$defs/a","maxLe)"
                                     R"(ngth":3}}})");
  to.add("not itself", R"({"$defs":{"a":{"not":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"})");
  to.add("references doubled 40 times",
         list(
             40, R"({"$ref":"#/$defs/d0","$defs":{)",
             [](std::size_t i) {
               return "\"d" + number(i) + "\":" +
                      (i == 39 ? Text(R"({"type":"integer"})")
                               : R"({"allOf":[{"$ref":"#/$defs/d)" + number(i + 1) +
                                     R"("},{"$ref":"#/$defs/d)" + number(i + 1) + "\"}]}");
             },
             "}}"));
  to.add("references doubled 40 times, either",
         list(
             40, R"({"$ref":"#/$defs/d0","$defs":{)",
             [](std::size_t i) {
               return "\"d" + number(i) + "\":" +
                      (i == 39 ? Text(R"({"type":"integer"})")
                               : R"({"anyOf":[{"$ref":"#/$defs/d)" + number(i + 1) +
                                     R"("},{"type":"array","items":{"$ref":"#/$defs/d)" +
                                     number(i + 1) + "\"}}]}");
             },
             "}}"));
  to.add("references doubled 30 times, exactly one",
         list(
             30, R"({"$ref":"#/$defs/d0","$defs":{)",
             [](std::size_t i) {
               return "\"d" + number(i) + "\":" +
                      (i == 29 ? Text(R"({"type":"integer"})")
                               : R"({"oneOf":[{"$ref":"#/$defs/d)" + number(i + 1) +
                                     R"("},{"$ref":"#/$defs/d)" + number(i + 1) +
                                     R"("},{"type":"string"}]})");
             },
             "}}"));
  to.add("nowhere", R"({"$ref":"#/nowhere"})");
  to.add("a remote place", R"({"$ref":"http://127.0.0.1:1/schema.json"})");
  to.add("a dynamic ring", R"({"$dynamicAnchor":"n","type":"array","items":{"$dynamicRef":"#n"}})");
  to.add("mutual recursion through everything",
         R"({"$defs":{"v":{"oneOf":[{"type":"object","addition)"
         R"(alProperties":{"$ref":"#/$defs/v"},"unevaluatedPro)"
         R"(perties":false},{"type":"array","items":{"$ref":"#)"
         R"(/$defs/v"},"uniqueItems":true},{"type":["string",")"
         R"(number","boolean","null"]}]}},"$ref":"#/$defs/v"})");
  to.add("a tree of expressions", R"({"$defs":{"e":{"anyOf":[{"type":"number"},{"type":)"
                                  R"("object","required":["op","l","r"],"additionalProp)"
                                  R"(erties":false,"properties":{"op":{"enum":["+","-",)"
                                  R"("*"]},"l":{"$ref":"#/$defs/e"},"r":{"$ref":"#/$def)"
                                  R"(s/e"}}}]}},"$ref":"#/$defs/e"})");
}

void add_texts(Cases& to) {
  to.add("no JSON", R"({"type":)");
  to.add("an empty text", "");
  to.add("a number for a schema", "17");
  to.add("brackets 100,000 deep", Text(100'000, '['));
  to.add("objects 100,000 deep", nested(100'000, R"({"a":)", "1", "}"));
  to.add("a name 10,000 times",
         list(
             10'000, "{", [](std::size_t) { return Text(R"("type":"string")"); }, "}"));
  to.add("unknown keywords",
         list(
             50'000, "{", [](std::size_t i) { return "\"x-" + number(i) + "\":{}"; }, "}"));
  to.add("more than a megabyte", R"({"description":")" + Text(1'100'000, 'd') + "\"}");
  to.add("nearly a megabyte",
         R"({"description":")" + Text(1'000'000, 'd') + R"(","type":"string"})");
  to.add("nulls", Text("{\"type\":\"string\"}") + Text(100, '\0'));
  to.add("wrong types everywhere", R"({"type":7,"minimum":"a","properties":[],"required")"
                                   R"(:{},"items":3,"enum":{},"pattern":1,"$ref":[],"all)"
                                   R"(Of":{},"minLength":-1,"multipleOf":-3,"format":1,")"
                                   R"(if":2})");
}

}  // namespace

std::vector<HostileCase> hostile_schemas() {
  Cases cases;
  add_strings(cases);
  add_numbers(cases);
  add_objects(cases);
  add_arrays(cases);
  add_logic(cases);
  add_references(cases);
  add_texts(cases);
  return std::move(cases.cases);
}

}  // namespace tessera::guided
