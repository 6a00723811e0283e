#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/guided/grammar_fixture.hpp"

namespace tessera::guided {
namespace {

void expect_language(const char* grammar, const std::vector<std::string>& in,
                     const std::vector<std::string>& out) {
  SCOPED_TRACE(grammar);
  GrammarFixture made;
  Recognizer* recognizer = made.gbnf(grammar);
  ASSERT_NE(recognizer, nullptr) << made.places() << made.findings[0].reason;
  for (const std::string& text : in) EXPECT_TRUE(accepts(*recognizer, text)) << text;
  for (const std::string& text : out) EXPECT_FALSE(accepts(*recognizer, text)) << text;
}

TEST(Gbnf, LiteralsClassesAndEscapes) {
  expect_language(R"(root ::= "a\"\\\n\x41\u00e9\U0001F600")", {"a\"\\\nAé😀"}, {"a"});
  expect_language("root ::= [a-z^-] [^a-z\\]] [\\x41-\\u0043é]", {"a1A", "^Dé", "-^B"},
                  {"Ab1", "a]D", "aaA"});
  expect_language("root ::= . [é]", {"xé", "\né", "😀é"}, {"é", "xx"});
}

TEST(Gbnf, CountsAreKept) {
  expect_language("root ::= \"a\"{2} \"b\"{1,} [c]{0,2}", {"aab", "aabbcc"},
                  {"ab", "aa", "aabccc"});
  expect_language("root ::= x{2,3} \".\"\nx ::= \"(\" x \")\" | \"a\"", {"a(a).", "aaa."},
                  {"a.", "aaaa."});
  expect_language("root ::= (\"a\" | \"b\" root)+ \"c\"?", {"a", "abac", "bacc"}, {"", "c", "b"});
}

TEST(Gbnf, LinesAndComments) {
  expect_language(
      "# a grammar\nroot  ::= # the first\n  one | # or\n  two\n | three\none ::= \"1\"\ntwo ::= "
      "(\n"
      "  \"2\"\n  # within\n)\nthree\n  ::= \"#\" \"3\"",
      {"1", "2", "#3"}, {"", "12", "#"});
}

TEST(Gbnf, TheWellKnownGrammars) {
  // Right-recursive white space, as the older of llama.cpp's grammars have it.
  expect_language(R"g(root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " ws | "\n" [ \t]{0,20})g",
                  {"{}", R"({"a": [1, -2.5e3, "x\u00e9\n"], "b": {"c": null}}
)"},
                  {"[]", "{\"a\"}", R"({"a": 01})", R"({"a": 1,})", "{\"a\": \"\n\"}"});
  expect_language(R"g(root ::= (expr "=" [ ]* term "\n")+
expr ::= term ([-+*/] term)*
term ::= ident | num | "(" [ ]* expr ")" [ ]*
ident ::= [a-z] [a-z0-9_]* [ ]*
num ::= [0-9]+ [ ]*)g",
                  {"a+1=2\n", "(x1 *3) -y = z\n1=1\n"}, {"", "a=", "a+=1\n", "(a=1)\n"});
  expect_language(R"g(root ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?)g",
                  {"1. e4 e5\n2. Nf3 Nc6\n", "1. d4 d5\n2. O-O O-O-O#\n10. exd8=Q+ Kxd8\n"},
                  {"1. e4 e5\n", "1. e9 e5\n2. a3 a6\n"});
}

TEST(Gbnf, TheExampleIsTested) {
  std::ifstream in(std::filesystem::path(TESSERA_SOURCE_DIR) / "examples/grammars/arithmetic.gbnf");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  expect_language(text.c_str(), {"1 + 2 = 3", "(4.5 - x) * -2 = y", "((1)) = 1"},
                  {"1 + = 3", "1 = ", "(1 = 1", "1 + 2"});
}

TEST(Gbnf, FaultsAreToldWithTheirPlaces) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"root ::= a\na ::= \"x\" b\n", "2:11 b\n"},
      {"a ::= \"x\"", "1:1 root\n"},
      {"root ::= \"a\nb ::= \"c\" )\n", "2:9 \"\n"},
      {"root ::= [a\n", "1:10 [\n"},
      {"root ::= [b-a] \"x\\q\"\nb ::= (\"x\"", "1:11 [\n2:7 (\n"},
      {"root ::= \"a\" )\nb ::= \"\\ud800\"\nb ::= \"x\"{3,2}",
       "1:14 root\n2:8 \\\n3:1 b\n3:10 {\n"},
      {"root ::= <think> \"a\"", "1:10 <token>\n"},
      {"root ::= \"a\" root", "1:10 \n"},
      {"root = \"a\"", "1:1 \n"},
      {"root ::= \"a\"{x}", "1:13 {\n"},
  };
  for (const auto& [grammar, places] : cases) {
    GrammarFixture made;
    EXPECT_EQ(made.gbnf(grammar), nullptr) << grammar;
    EXPECT_EQ(made.places(), places) << grammar;
  }
}

TEST(Gbnf, ManyRepetitionsOfALexemeAreOneLexeme) {
  GrammarFixture made;
  Recognizer* recognizer = made.gbnf("root ::= \"[\" [a-z]{1,100000} \"]\" root?");
  ASSERT_NE(recognizer, nullptr) << made.places();
  EXPECT_LT(recognizer->bytes(), 100'000U);
  EXPECT_TRUE(accepts(*recognizer, "[abc][d]"));
  EXPECT_FALSE(live(*recognizer, "[]"));
  EXPECT_EQ(made.gbnf("root ::= (\"[\" root \"]\"){1000000} | \"a\""), nullptr);
}

}  // namespace
}  // namespace tessera::guided
