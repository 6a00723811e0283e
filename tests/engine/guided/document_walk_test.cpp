// There are no dead ends: wherever random bytes lead, what was begun can be ended, by the shortest
// rest; and a byte that is refused is refused for good.

#include <cstdlib>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tests/engine/guided/document_fixture.hpp"

namespace tessera::guided {
namespace {

const char* const kSchemas[] = {
    "{}",
    R"({"type":"object","properties":{"a":{"type":"integer","minimum":3,"maximum":77},
        "b":{"type":"string","pattern":"^[a-f]{2,4}$"}},"required":["b"],"minProperties":2})",
    R"({"type":"object","patternProperties":{"^[ab]{1,2}$":{"type":"boolean"}},
        "additionalProperties":false,"minProperties":3})",
    R"({"oneOf":[{"type":"object","properties":{"k":{"enum":["a","b"]},"v":{"type":"integer"}},
        "required":["k"]},
        {"type":"object","properties":{"k":{"enum":["b","c"]}},"required":["k","w"]}]})",
    R"({"type":"array","items":{"enum":["x","xy",1,null,[1]]},"uniqueItems":true,"minItems":3})",
    R"({"type":"array","contains":{"type":"string","maxLength":1},"minContains":2,"maxItems":3})",
    R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"additionalProperties":false,
        "not":{"required":["a","b"]},"minProperties":2})",
    R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"l":{"$ref":"#/$defs/t"},
        "n":{"type":"number","multipleOf":0.5}},"required":["n"],"additionalProperties":false}}})",
    R"({"type":"object","if":{"properties":{"t":{"const":1}},"required":["t"]},
        "then":{"required":["x"],"properties":{"x":{"type":"string"}}},
        "else":{"required":["y"],"properties":{"y":{"type":"array"}}}})",
    R"({"type":"object","anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},
        {"properties":{"b":{"type":"null"}},"required":["b"]}],"unevaluatedProperties":false})",
};

struct WalkCase {
  const char* schema;
  PropertyOrder order;
  Whitespace whitespace;
  Escapes escapes;
};

class Walker {
 public:
  Walker(const WalkCase& one, std::uint64_t seed)
      : documents_(one.schema, options(one)), random_(seed) {}

  // Structure is likelier than text, so that walks get somewhere.
  void walk(std::size_t max_bytes) {
    Position position = documents_.recognizer().start();
    std::string text;
    while (text.size() < max_bytes) {
      documents_.refill();
      check_end(position, text);
      const int byte = pick(position);
      if (byte < 0) break;
      position = documents_.recognizer().step(position, static_cast<std::uint8_t>(byte));
      text += static_cast<char>(byte);
    }
  }
  bool ok() const { return documents_.ok(); }

 private:
  static DocumentOptions options(const WalkCase& one) {
    DocumentOptions options;
    options.property_order = one.order;
    options.whitespace = one.whitespace;
    options.escapes = one.escapes;
    options.max_depth = 4;
    return options;
  }

  void check_end(Position position, const std::string& text) {
    Recognizer& recognizer = documents_.recognizer();
    const std::string rest = recognizer.shortest_rest(position);
    Position end = position;
    for (const char c : rest) end = recognizer.step(end, static_cast<std::uint8_t>(c));
    ASSERT_TRUE(recognizer.accepting(end)) << text << " | " << rest;
    ASSERT_EQ(rest.empty(), recognizer.accepting(position)) << text;
  }

  int pick(Position position) {
    std::string live;
    for (int byte = 0; byte < 256; ++byte) {
      if (!documents_.recognizer().step(position, static_cast<std::uint8_t>(byte)).dead()) {
        live += static_cast<char>(byte);
        if (std::string_view("\"{}[],:").find(static_cast<char>(byte)) != std::string_view::npos) {
          live.append(20, static_cast<char>(byte));
        }
      }
    }
    if (live.empty()) return -1;
    return static_cast<std::uint8_t>(live[random_() % live.size()]);
  }

  Documents documents_;
  std::mt19937_64 random_;
};

TEST(DocumentWalk, WhateverIsBegunCanBeEnded) {
  const std::uint64_t seed = 20261121;
  const int walks = std::getenv("TESSERA_LONG") ? 200 : 4;
  for (const char* schema : kSchemas) {
    for (int variant = 0; variant < 4; ++variant) {
      const WalkCase one{schema, variant % 2 ? PropertyOrder::kAny : PropertyOrder::kSchema,
                         variant / 2 ? Whitespace::kFlexible : Whitespace::kCompact,
                         variant / 2 ? Escapes::kJson : Escapes::kMinimal};
      SCOPED_TRACE(std::string(schema) + " variant " + std::to_string(variant) + " seed " +
                   std::to_string(seed));
      Walker walker(one, seed + static_cast<std::uint64_t>(variant));
      ASSERT_TRUE(walker.ok());
      for (int i = 0; i < walks && !testing::Test::HasFatalFailure(); ++i) walker.walk(60);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tessera::guided
