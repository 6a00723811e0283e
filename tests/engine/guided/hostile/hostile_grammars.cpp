#include <functional>

#include "tests/engine/guided/hostile/hostile_cases.hpp"

namespace tessera::guided {
namespace {

using Text = std::string;

Text nested(std::size_t n, const Text& before, const Text& core, const Text& after) {
  Text text;
  for (std::size_t i = 0; i < n; ++i) text += before;
  text += core;
  for (std::size_t i = 0; i < n; ++i) text += after;
  return text;
}

Text joined(std::size_t n, const Text& between, const std::function<Text(std::size_t)>& part) {
  Text text;
  for (std::size_t i = 0; i < n; ++i) text += (i == 0 ? Text() : between) + part(i);
  return text;
}

class Cases {
 public:
  explicit Cases(ConstraintKind kind) : kind_(kind) {}
  void add(const Text& name, Text source) {
    ConstraintSpec spec;
    spec.kind = kind_;
    spec.source = std::move(source);
    // Counts in the thousands of millions, and texts of a million parts.
    const bool endless = name.find("10^") != Text::npos || name.find("million") != Text::npos ||
                         name.find("huge") != Text::npos || name.find("100,000 of") != Text::npos;
    cases.push_back({name, std::move(spec), endless});
  }

  std::vector<HostileCase> cases;

 private:
  ConstraintKind kind_;
};

void append(std::vector<HostileCase>& to, std::vector<HostileCase> from) {
  for (auto& one : from) to.push_back(std::move(one));
}

std::vector<HostileCase> lark_cases() {
  Cases to(ConstraintKind::kLark);
  to.add("lark: left recursion",
         "start: expr\nexpr: expr \"+\" term | term\nterm: term \"*\" atom | atom\natom: /[0-9]+/ "
         "| \"(\" expr \")\"\n");
  to.add("lark: right recursion", "start: item\nitem: \"a\" item | \"a\"\n");
  to.add("lark: ambiguity", "start: e\ne: e e | \"a\" | \"ab\" | \"b\"\n");
  to.add("lark: ambiguity in three", "start: s\ns: s s s | s s | \"a\"\n");
  to.add("lark: nothing in a loop", "start: a\na: b? a? c?\nb: c? \"x\"?\nc: a? \"y\"?\n");
  to.add("lark: a rule that is itself", "start: start\n");
  to.add("lark: a rule with no end", "start: \"a\" start\n");
  to.add("lark: hidden left recursion", "start: n start \"x\" | \"y\"\nn: \"z\"?\n");
  to.add("lark: 5,000 alternatives", "start: " + joined(5'000, " | ", [](std::size_t i) {
                                       return "\"word" + std::to_string(i) + "\"";
                                     }) + "\n");
  to.add("lark: 9,000 rules",
         "start: r0\n" + joined(9'000, "", [](std::size_t i) {
           return "r" + std::to_string(i) + ": \"a\" " +
                  (i + 1 < 9'000 ? "r" + std::to_string(i + 1) : Text("\"b\"")) + "\n";
         }));
  to.add("lark: 20,000 rules",
         "start: r0\n" + joined(20'000, "", [](std::size_t i) {
           return "r" + std::to_string(i) + ": \"a\" " +
                  (i + 1 < 20'000 ? "r" + std::to_string(i + 1) : Text("\"b\"")) + "\n";
         }));
  to.add("lark: rules doubled 30 times",
         "start: r0\n" + joined(30, "", [](std::size_t i) {
           return "r" + std::to_string(i) + ": " +
                  (i + 1 < 30 ? "r" + std::to_string(i + 1) + " r" + std::to_string(i + 1)
                              : Text("\"b\"")) +
                  "\n";
         }));
  to.add("lark: parentheses 2,000 deep", "start: " + nested(2'000, "(", "\"a\"", ")") + "\n");
  to.add("lark: repetition of repetitions", "start: ((\"a\"*)*)* ((\"b\"+)?)+\n");
  to.add("lark: a large count", "start: \"a\"~0..100000\n");
  to.add("lark: terminals that overlap",
         "start: (A | B | C | D)*\nA: /[a-z]+/\nB: /[a-z0-9]+/\nC: /[a-m]+[0-9]?/\nD: /.+/\n");
  to.add("lark: a terminal that blows up", "start: T\nT: /.*a.{300}/\n");
  to.add("lark: an undefined name", "start: missing\n");
  to.add("lark: no start", "a: \"b\"\n");
  to.add("lark: an unended string", "start: \"abc\n");
  to.add("lark: an unended pattern", "start: /abc\n");
  to.add("lark: palindromes",
         "start: p\np: \"a\" p \"a\" | \"b\" p \"b\" | \"c\" p \"c\" | \"a\" | \"b\" | \"c\" | \n");
  to.add("lark: ignored everywhere",
         "start: (\"a\" | \"b\")+\n%ignore /[ \\t\\n]+/\n%ignore /#[^\\n]*/\n");
  to.add("lark: a schema within",
         "start: \"<\" body \">\"\nbody: %json "
         "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}}}\n");
  return std::move(to.cases);
}

std::vector<HostileCase> gbnf_cases() {
  Cases to(ConstraintKind::kGbnf);
  to.add("gbnf: left recursion", "root ::= root \"a\" | \"b\"\n");
  to.add("gbnf: mutual left recursion",
         "root ::= x\nx ::= y \"a\" | \"c\"\ny ::= x \"b\" | \"d\"\n");
  to.add("gbnf: nothing in a loop", "root ::= (x)* \nx ::= \"\" | (\"\")* | y\ny ::= x x\n");
  to.add("gbnf: ambiguity", "root ::= e\ne ::= e \"+\" e | e \"*\" e | [0-9]+ | \"(\" e \")\"\n");
  to.add("gbnf: character by character",
         "root ::= [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? "
         "[a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? "
         "[a-z]? \"!\"\n");
  to.add("gbnf: counted groups", "root ::= ((\"ab\" | \"a\" | \"b\"){1,50}){1,50}\n");
  to.add("gbnf: a large count", "root ::= [0-9]{1,1000000}\n");
  to.add("gbnf: a huge count", "root ::= (\"a\" root?){1,4000000000}\n");
  to.add("gbnf: groups 5,000 deep", "root ::= " + nested(5'000, "(", "\"a\"", ")") + "\n");
  to.add("gbnf: 3,000 alternatives with common prefixes",
         "root ::= " + joined(3'000, " | ", [](std::size_t i) {
           return "\"" + Text(i % 60, 'a') + std::to_string(i) + "\"";
         }) + "\n");
  to.add("gbnf: any text", "root ::= .*\n");
  to.add("gbnf: JSON",
         "root ::= v\nv ::= o | l | s | [0-9]+ | \"true\" | \"null\"\no ::= \"{\" w (s w \":\" w v "
         "w (\",\" w s w \":\" w v w)*)? \"}\"\nl ::= \"[\" w (v w (\",\" w v w)*)? \"]\"\ns ::= "
         "\"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" [\"\\\\/bfnrt])* \"\\\"\"\nw ::= [ \\n\\t]*\n");
  to.add("gbnf: no root", "a ::= \"b\"\n");
  to.add("gbnf: bytes that are no text", "root ::= \"\xC3\x28\"\n");
  to.add("gbnf: an unended class", "root ::= [a-z\n");
  to.add("gbnf: a class the wrong way round", "root ::= [z-a]\n");
  return std::move(to.cases);
}

ConstraintSpec schema(const Text& source) {
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kJsonSchema;
  spec.source = source;
  return spec;
}

std::vector<HostileCase> other_cases() {
  std::vector<HostileCase> cases;
  ConstraintSpec choice;
  choice.kind = ConstraintKind::kChoice;
  for (int i = 0; i < 100'000; ++i) choice.choices.push_back("choice " + std::to_string(i * 31));
  cases.push_back({"choice: 100,000", choice, false});
  choice.choices = {"", "a", "aa", Text(100'000, 'a'), "a"};
  cases.push_back({"choice: prefixes of each other", choice, false});

  ConstraintSpec tags;
  tags.kind = ConstraintKind::kTags;
  tags.tags.triggers = {"<tool"};
  for (int i = 0; i < 500; ++i) {
    const auto name = std::to_string(i);
    tags.tags.tags.push_back(
        {"<tool" + name + ">", "</tool>",
         std::make_shared<const ConstraintSpec>(
             schema(R"({"type":"object","required":["a)" + name + R"("],"properties":{"a)" + name +
                    R"(":{"type":"string"}},"additionalProperties":false})"))});
  }
  cases.push_back({"tags: 500 tools", tags, false});
  tags.tags.at_least_one = true;
  tags.tags.free_text = false;
  cases.push_back({"tags: 500 tools and no other text", tags, false});
  tags.tags.tags.resize(1);
  tags.tags.tags[0].body = std::make_shared<const ConstraintSpec>(schema("false"));
  cases.push_back({"tags: a body that nothing meets", tags, false});
  tags.tags.triggers = {"a", "aa", "aaa", "aaaa", "ba", "aba"};
  tags.tags.free_text = true;
  tags.tags.tags.clear();
  for (const auto& trigger : tags.tags.triggers) {
    tags.tags.tags.push_back(
        {trigger + "b", "c", std::make_shared<const ConstraintSpec>(schema("true"))});
  }
  cases.push_back({"tags: triggers within triggers", tags, false});
  return cases;
}

}  // namespace

std::vector<HostileCase> hostile_patterns() {
  Cases to(ConstraintKind::kRegex);
  to.add("regex: nested stars", "(a*)*b");
  to.add("regex: nested pluses", "((a+)+)+$");
  to.add("regex: alternatives that overlap", "(a|a)*b");
  to.add("regex: words", "([A-Za-z]+[ ,.]*)+");
  to.add("regex: cubed repetition", "((a{1,100}){1,100}){1,100}");
  to.add("regex: repetition to the fifth", "(((((a|b){1,20}c){1,20}d){1,20}e){1,20}f){1,20}");
  to.add("regex: a million", "(ab|c){1000000}");
  to.add("regex: ten million", "a{10000000}");
  to.add("regex: deterministic blow-up", "(a|b)*a(a|b){25}");
  to.add("regex: wide blow-up", "[^]*x[^]{500}");
  to.add("regex: lookaheads",
         "(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])(?=.*[!-/])(?!.*(.)(.)(.)zz).{8,64}");
  to.add("regex: lookaheads within", "((?!ab)[a-c]){1,60}(?<=a)b");
  to.add("regex: lookbehind", "(?<!foo)(?<=[a-z]{3})bar");
  to.add("regex: terms within terms that share them", ".+O+O.+(?<= I<!.+;%;?z).+.\\B\"d2");
  to.add("regex: repetitions within repetitions before a lookbehind",
         "(36u|=17Jj?b(|}Tu?)+(||))+(?<!-Q9..n:9|&|=..n.d)>`*xx>|>");
  to.add("regex: optional parts within optional parts before a lookbehind",
         "92;](#*|-?](#*|-?)?(-?))?(-?)?(?<=...H....;!...\\..\\*.`..)=*");
  to.add("regex: a lookbehind behind many repetitions",
         nested(12, "(a?", "b", "c*)+") + "(?<=a.....c)" + nested(12, "(d*", "e?", ")*"));
  to.add("regex: a hundred lookaheads",
         joined(100, "", [](std::size_t i) { return "(?=.*" + std::to_string(i) + ")"; }) + ".*");
  to.add("regex: lookaheads that contradict", "(?=a)(?!a).*");
  to.add("regex: nested lookaheads", nested(40, "(?!a", "b", ")") + ".*");
  to.add("regex: a back-reference", "(a+)\\1");
  to.add("regex: word boundaries", "\\b\\w+\\b(\\B.\\b.)*");
  to.add("regex: 2,000 alternatives",
         joined(2'000, "|", [](std::size_t i) { return "w" + std::to_string(i * 37 % 5'003); }));
  to.add("regex: groups 1,000 deep", nested(1'000, "(", "a", ")"));
  to.add("regex: groups 100 deep, repeated", nested(100, "(", "a", "|b)*"));
  to.add("regex: optional parts",
         joined(500, "", [](std::size_t) { return Text("a?"); }) + Text(500, 'a'));
  to.add("regex: optional parts that differ",
         joined(600, "", [](std::size_t i) { return "(k" + std::to_string(i) + ")?"; }));
  to.add("regex: longer than allowed", Text(20'000, 'a'));
  to.add("regex: as long as allowed", Text(16'000, 'a'));
  to.add("regex: Unicode", "[\\p{L}\\p{N}]+([\\p{Emoji}\\u{10000}-\\u{10FFFF}][^\\p{ASCII}]){3,}");
  to.add("regex: every property", "\\p{Lu}\\p{Ll}\\p{Lt}\\p{Script=Han}\\p{Script=Latin}\\P{Any}?");
  to.add("regex: surrogates", "[\\ud800-\\udfff]");
  to.add("regex: bytes that are no text", "a\xFF\xFE");
  to.add("regex: unended", "(a[b");
  to.add("regex: a count the wrong way round", "a{5,2}");
  to.add("regex: nothing", "[]");
  to.add("regex: empty", "");
  to.add("regex: anchors within", "(^a|b$)*c?(^|x)($|y)");
  to.add("regex: dates between",
         "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T.{0,4000}");
  to.add("regex: mail addresses",
         "^(([^<>()\\[\\]\\\\.,;:\\s@\"]+(\\.[^<>()\\[\\]\\\\.,;:\\s@\"]+)*)|(\".+\"))@((\\[[0-9]{"
         "1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}])|(([a-zA-Z\\-0-9]+\\.)+[a-zA-Z]{2,}))$");
  return std::move(to.cases);
}

std::vector<HostileCase> hostile_grammars() {
  auto cases = lark_cases();
  append(cases, gbnf_cases());
  append(cases, other_cases());
  return cases;
}

}  // namespace tessera::guided
