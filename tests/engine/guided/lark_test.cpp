#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/grammar_lark.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"
#include "tests/engine/guided/grammar_fixture.hpp"

namespace tessera::guided {
namespace {

struct LarkCase {
  const char* grammar;
  std::vector<std::string> in;
  std::vector<std::string> out;
};

void expect_language(const LarkCase& one, const SchemaRecognizerMaker& make_schema = {}) {
  SCOPED_TRACE(one.grammar);
  GrammarFixture made;
  Recognizer* recognizer = made.lark(one.grammar, make_schema);
  ASSERT_NE(recognizer, nullptr) << made.places() << made.findings[0].reason;
  for (const std::string& text : one.in) EXPECT_TRUE(accepts(*recognizer, text)) << text;
  for (const std::string& text : one.out) EXPECT_FALSE(accepts(*recognizer, text)) << text;
}

TEST(Lark, OperatorsGroupsAndRanges) {
  expect_language({"start: \"a\"? \"b\"* \"c\"+", {"c", "abcc", "bbc"}, {"", "a", "aac"}});
  expect_language({"start: (\"a\" | \"b\" \"c\") [\"d\"]", {"a", "bcd", "ad"}, {"b", "abc", "d"}});
  expect_language({"start: \"a\"~2 \"b\"~1..3", {"aab", "aabbb"}, {"ab", "aabbbb", "aaab"}});
  expect_language({"start: x~0..2\nx: \"(\" x \")\" | \"a\"", {"", "aa", "a(a)"}, {"aaa", "("}});
  expect_language({"start: \"a\"..\"f\" \"é\"..\"ë\"", {"aé", "fë"}, {"gé", "aì"}});
  expect_language({"start: | \"a\" start", {"", "aaa"}, {"b"}});
}

TEST(Lark, StringsHaveEscapesAndMayIgnoreCase) {
  expect_language({R"(start: "a\"\\\n\t\x41\u00e9\U0001F600")", {"a\"\\\n\tAé😀"}, {"a"}});
  expect_language(
      {"start: \"Select-1é\"i", {"sELECT-1é", "SELECT-1é"}, {"select-1É", "select_1é"}});
}

TEST(Lark, PatternsWithFlags) {
  expect_language({R"(start: /[a-c]+\/\d{2,3}/)", {"ab/12", "c/123"}, {"/12", "a/1"}});
  expect_language({"start: /ab[c-e]/i", {"ABD", "abE"}, {"abf"}});
  expect_language({"start: /a.b/ | /x.y/s", {"a\rb", "x\ny"}, {"a\nb"}});
  expect_language({"start: /a b # comment/x /[]#]/", {"ab]", "ab#"}, {"a b]"}});
  expect_language({"start: /(?!ab$)[a-z]+/", {"a", "abc", "ba"}, {"ab"}});
}

TEST(Lark, TerminalsAreMadeOfTerminals) {
  expect_language(
      {"start: NUM (OP NUM)*\nNUM: SIGN? DIGIT+ (\".\" DIGIT~1..2)?\nDIGIT: \"0\"..\"9\"\n"
       "SIGN.2: \"-\" | \"+\"\nOP: \"*\"",
       {"1", "-12.5*+3"},
       {"1*", "1.", "1.234"}});
}

TEST(Lark, WhatShapesATreeChangesNothing) {
  expect_language(
      {"?start.3: _sum -> top\n!_sum: a \"+\" a -> plus\n  | a\n// comment\n# another\na: /a/",
       {"a", "a+a"},
       {"+", "aa"}});
}

TEST(Lark, StatementsMaySpanLines) {
  expect_language({"start: (\n  \"a\"\n  | \"b\"\n\n  // within\n) \"!\"\n\n    | \"c\"\n\n\n",
                   {"a!", "b!", "c"},
                   {"a", "c!"}});
}

TEST(Lark, IgnoredTextStandsBetweenLexemesAndAround) {
  const LarkCase sum = {
      "start: NUM (\"+\" NUM)*\nNUM: /[0-9]+/\nCOMMENT: /#[^\\n]*\\n/\n"
      "%ignore \" \"\n%ignore COMMENT",
      {"1+2", "  1 + 2 ", "1#x\n+2", "1+ #y\n #z\n2"},
      {"", " ", "1 2", "1+#x", "1 +"}};
  expect_language(sum);
  expect_language(
      {"start: /a b/ \"c\"\n%ignore /[ \\t]+/", {"a bc", " a b \tc "}, {"ab c", "a  bc"}});
}

TEST(Lark, TheCommonTerminalsAreThere) {
  const std::vector<LarkCase> cases = {
      {"INT", {"0", "12"}, {"", "-1", "1.0"}},
      {"SIGNED_INT", {"-1", "+2", "3"}, {"1.", "--1"}},
      {"NUMBER", {"1", "1.5", ".5", "1.", "2e-3", "1.e5"}, {"e5", ".", "-1"}},
      {"SIGNED_NUMBER", {"-1.5e+7", "+.5"}, {"-", "1..2"}},
      {"FLOAT", {"1.0", "1e5"}, {"1"}},
      {"ESCAPED_STRING", {R"("a\"b\\")", "\"\""}, {R"("a\")", "\"a\nb\"", R"("a"b")"}},
      {"CNAME", {"_a1", "Zed"}, {"1a", "a-b"}},
      {"WORD", {"abc"}, {"a1"}},
      {"WS", {" \t\r\n\f"}, {"", "a"}},
      {"NEWLINE", {"\n", "\r\n\n"}, {"\r"}},
      {"HEXDIGIT", {"f", "9"}, {"g", "ab"}},
      {"C_COMMENT", {"/**/", "/* a * / **/"}, {"/*/", "/* */ */"}},
      {"CPP_COMMENT", {"// x"}, {"/ x", "// x\n"}},
      {"SH_COMMENT", {"# x"}, {"x"}},
      {"SQL_COMMENT", {"-- x"}, {"- x"}},
  };
  for (const LarkCase& one : cases) {
    const std::string grammar = std::string("start: T\n%import common.") + one.grammar + " -> T";
    expect_language({grammar.c_str(), one.in, one.out});
  }
  expect_language({"start: INT WORD\n%import common (INT, WORD)", {"1a"}, {"a1"}});
}

// A schema's recognizer, played by a grammar of its own.
TEST(Lark, AnEmbeddedDocumentIsReadByItsOwnRecognizer) {
  GrammarFixture schemas;
  std::vector<std::string> asked;
  const SchemaRecognizerMaker make = [&](std::string_view schema) {
    asked.emplace_back(schema);
    return make_gbnf_recognizer("root ::= \"{\" root? \"}\"", schemas.pool, schemas.fuel,
                                schemas.limits);
  };
  expect_language({"start: \"call \" %json {\"a\": \"}\\\"{\"} (\";\" start)?",
                   {"call {}", "call {{}};call {}"},
                   {"call {", "call {};", "{}"}},
                  make);
  EXPECT_EQ(asked, std::vector<std::string>{R"({"a": "}\"{"})"});

  GrammarFixture refused;
  const SchemaRecognizerMaker refuse = [](std::string_view) -> RecognizerOrFindings {
    return GuidedFindings{{.pointer = "/a", .keyword = "type", .reason = "No.", .offset = 3}};
  };
  EXPECT_EQ(refused.lark("start:\n  | %json {\"a\": 1}", refuse), nullptr);
  EXPECT_EQ(refused.places(), "2:14 type\n");
  EXPECT_EQ(refused.lark("start: %json {}"), nullptr);
}

TEST(Lark, AllFaultsAreToldAtOnceWithTheirPlaces) {
  GrammarFixture made;
  EXPECT_EQ(made.lark("start: a b C\n"
                      "a: \"x\" \"\\q\"\n"
                      "b: (\"y\"\n"
                      "c: d\n"
                      "E: e\n"
                      "%declare F\n"
                      "%override g: \"h\"\n"
                      "h{x}: x\n"
                      "I: /(/ \n"
                      "j: \"z\"..\"a\" | i~3..2\n"
                      "mIxed: \"k\"\n"
                      "k: \"l\" ) \n"
                      "k: \"m\"\n"),
            nullptr);
  EXPECT_EQ(made.places(),
            "2:9 \\\n3:4 (\n5:4 e\n6:1 %declare\n7:1 %override\n8:1 h\n9:4 /\n10:4 ..\n"
            "11:1 mIxed\n12:8 \n13:1 k\n");
}

TEST(Lark, RulesThatCannotBeUsedAreToldByName) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"start: a\na: b B\n", "2:4 b\n2:6 B\n"},
      {"b: \"x\"", "1:1 start\n"},
      {"start: \"x\" | a\na: \"(\" a \")\" | b\nb: a", "2:1 a\n3:1 b\n"},
      {"start: \"x\" start", "1:8 \n"},
      {"start: A\nA: \"x\" B\nB: A?", "2:1 A\n3:1 B\n"},
      {"start: \"a\" /[^\\s\\S]/ start?", "1:8 \n"},
      {"start: A\nA: /[^\\s\\S]/", "2:1 A\n"},
      {"start: \"a\"\n%import python.NAME", "2:9 %import\n"},
      {"start: \"a\"\n%import common.NOPE", "2:9 %import\n"},
      {"start: x{\"a\"}", "1:8 x\n"},
      {"start: <think>", "1:8 <token>\n"},
      {"start: /a$/m", "1:8 /\n"},
      {"start: %lark { }", "1:8 %lark\n"},
  };
  for (const auto& [grammar, places] : cases) {
    GrammarFixture made;
    EXPECT_EQ(made.lark(grammar), nullptr) << grammar;
    EXPECT_EQ(made.places(), places) << grammar;
  }
}

TEST(Lark, LimitsHold) {
  GuidedLimits limits;
  limits.max_grammar_rules = 50;
  limits.max_source_bytes = 4000;
  GrammarFixture made(limits);
  std::string many = "start: r0\n";
  for (int i = 0; i < 60; ++i) many += "r" + std::to_string(i) + ": \"x\"\n";
  EXPECT_EQ(made.lark(many), nullptr);
  EXPECT_EQ(made.lark("start: \"(\" start~900 \")\" | \"x\""), nullptr);
  EXPECT_EQ(made.lark("start: " + std::string(300, '(') + "\"a\"" + std::string(300, ')')),
            nullptr);
  EXPECT_EQ(made.lark("start: \"" + std::string(4000, 'a') + '"'), nullptr);
  EXPECT_EQ(made.lark("start: \"\xFF\""), nullptr);
  EXPECT_NE(made.lark("start: \"a\"~1000000"), nullptr) << made.places();
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(SqlGrammar, AcceptsQueriesAsPeopleWriteThem) {
  GrammarFixture made;
  Recognizer* sql = made.lark(
      read_file(std::filesystem::path(TESSERA_SOURCE_DIR) / "examples/grammars/sql_select.lark"));
  ASSERT_NE(sql, nullptr) << made.places();
  for (const char* query : {
           "SELECT 1",
           "select * from users;",
           "SELECT id, name FROM users WHERE age >= 21 AND name LIKE 'A%' ORDER BY name DESC LIMIT "
           "10",
           "SELECT DISTINCT country FROM customers",
           "SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN orders o ON o.user_id = u.id\n"
           "  GROUP BY u.id HAVING COUNT(*) > 3",
           "SELECT a.x, b.* FROM s.a AS a INNER JOIN b USING (id, kind), c CROSS JOIN d",
           "WITH t AS (SELECT a FROM b), u (k) AS (SELECT 1) SELECT t.a FROM t WHERE t.a IN (1, 2, "
           "3)"
           " OR EXISTS (SELECT 1 FROM d WHERE d.x = t.a)",
           "SELECT CASE WHEN x > 0 THEN 'pos' WHEN x = 0 THEN 'zero' ELSE 'neg' END AS sign FROM n",
           "SELECT CAST(price AS decimal(10, 2)) * 1.19 - -2e3 FROM \"my \"\"table\"",
           "SELECT SUM(x) OVER (PARTITION BY g ORDER BY d) FROM t UNION ALL SELECT (SELECT 2)",
           "SELECT x FROM t WHERE NOT (a BETWEEN 1 AND 2) AND b IS NOT NULL AND c NOT IN (SELECT d "
           "FROM e)",
           "SELECT max(a + b || 'it''s') FROM (SELECT * FROM t) AS s ORDER BY 1 NULLS LAST LIMIT ? "
           "OFFSET 5",
           "SELECT selected, from_date FROM orders_2024 WHERE id = :id",
       })
    EXPECT_TRUE(accepts(*sql, query)) << query;
}

TEST(SqlGrammar, RefusesWhatIsNoSelectAtTheFirstWrongByte) {
  GrammarFixture made;
  Recognizer* sql = made.lark(
      read_file(std::filesystem::path(TESSERA_SOURCE_DIR) / "examples/grammars/sql_select.lark"));
  ASSERT_NE(sql, nullptr) << made.places();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "DELETE FROM users"},  {"", "; SELECT 1"},
      {"SELECT", "x FROM y"},     {"SELECT a FROM users;", " DROP TABLE users"},
      {"SELECT ", ", a"},         {"SELECT a,", ", b"},
      {"SELECT from", " FROM t"}, {"SELECT a FROM where", " x = 1"},
      {"SELECT (1 + 2", "]"},     {"SELECT a FROM t WHERE x = ", "= 1"},
      {"SELECT 'a' ", "'b'"},     {"SELECT a FROM t GROUP ", "a"},
  };
  for (const auto& [good, bad] : cases) {
    made.fuel.refill(made.limits.mask_fuel);
    EXPECT_TRUE(live(*sql, good)) << good;
    EXPECT_FALSE(live(*sql, good + bad.substr(0, 1))) << good << " | " << bad;
  }
  for (const char* unfinished : {"SELECT", "SELECT a FROM", "SELECT (1", "SELECT a FROM t WHERE"}) {
    made.fuel.refill(made.limits.mask_fuel);
    EXPECT_FALSE(accepts(*sql, unfinished)) << unfinished;
    const std::string rest = sql->shortest_rest(read(*sql, unfinished));
    EXPECT_TRUE(accepts(*sql, unfinished + rest)) << unfinished << rest;
  }
}

// Names with and without a blank before them, beginnings of reserved words, and pieces of queries:
// enough of them that loops and merged masks are used.
std::vector<std::string> sql_tokens() {
  std::mt19937_64 random(11);
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  const std::vector<std::string> words = {"select", "from", "Where", "AS", "order", "by", "case",
                                          "in",     "isx",  "x",     "y_", "é",     "12", "'",
                                          "\"",     "(",    ")",     ",",  ".",     "=",  " "};
  for (int i = 0; i < 30'000; ++i) {
    std::string token = random() % 2 == 0 ? " " : "";
    for (std::size_t n = 1 + random() % 7; n > 0; --n)
      token += random() % 9 == 0 ? words[random() % words.size()]
                                 : std::string(1, static_cast<char>('a' + random() % 26));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

TEST(SqlGrammar, MasksAreWhatTheBytesSay) {
  GrammarFixture made;
  Recognizer* sql = made.lark(
      read_file(std::filesystem::path(TESSERA_SOURCE_DIR) / "examples/grammars/sql_select.lark"));
  ASSERT_NE(sql, nullptr) << made.places();
  const std::vector<std::string> tokens = sql_tokens();
  VocabularyTokens all;
  all.bytes = tokens;
  all.special.resize(tokens.size());
  all.vocab_size = static_cast<int>(tokens.size());
  const Vocabulary vocabulary(std::move(all));
  for (const char* text :
       {"", "SELECT", "SELECT ", "SELECT a", "SELECT a,", "SELECT a fr", "SELECT a FROM \"x",
        "SELECT f(a) FROM t WHERE b = 'it", "SELECT a FROM t o", "SELECT CASE WHEN a"}) {
    made.fuel.refill(200'000'000);
    const Position position = read(*sql, text);
    ASSERT_FALSE(position.dead()) << text;
    TokenMask mask(vocabulary.vocab_size());
    sql->fill(position, vocabulary, mask);
    for (std::size_t i = 0; i < tokens.size(); ++i)
      ASSERT_EQ(mask[static_cast<TokenId>(i)], !read(*sql, tokens[i], position).dead())
          << "'" << text << "' and '" << tokens[i] << "'";
  }
}

}  // namespace
}  // namespace tessera::guided
