// What models write for tool calls and reasoning, whole and in pieces.
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/answer_parser.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Told {
  struct Call {
    std::string name;
    std::string arguments;
    bool broken = false;
    std::string id = {};
    bool operator==(const Call&) const = default;
  };

  std::string content;
  std::string reasoning;
  std::vector<Call> calls;
  bool operator==(const Told&) const = default;
};

void PrintTo(const Told& told, std::ostream* out) {
  *out << "content [" << told.content << "] reasoning [" << told.reasoning << "]";
  for (const Told::Call& call : told.calls) {
    *out << " call " << call.name << " [" << call.arguments << "]" << (call.broken ? " broken" : "")
         << (call.id.empty() ? "" : " id ") << call.id;
  }
}

// Adds a delta as a client does; names come with the first delta of a call, calls in order.
void add(Told& told, const AnswerDelta& delta) {
  told.content += delta.content;
  told.reasoning += delta.reasoning;
  for (const ToolCallDelta& call : delta.calls) {
    const auto index = static_cast<std::size_t>(call.index);
    EXPECT_EQ(call.begins, index == told.calls.size());
    if (call.begins) told.calls.push_back({.name = call.name, .arguments = "", .id = call.id});
    ASSERT_LT(index, told.calls.size());
    told.calls[index].arguments += call.arguments;
    told.calls[index].broken |= call.broken;
  }
}

Told parse(const AnswerSyntax& syntax, const AnswerOptions& options, const std::string& text,
           const std::vector<std::size_t>& cuts = {}) {
  AnswerParser parser(syntax, options);
  Told told;
  std::size_t from = 0;
  for (const std::size_t cut : cuts) {
    add(told, parser.push(std::string_view(text).substr(from, cut - from)));
    from = cut;
  }
  add(told, parser.push(std::string_view(text).substr(from)));
  add(told, parser.flush());
  int num_whole = 0;
  for (const Told::Call& call : told.calls) num_whole += call.broken ? 0 : 1;
  EXPECT_EQ(parser.num_calls(), num_whole);
  return told;
}

// "hermes", "mistral+THINK", "granite": as the families' templates make it.
AnswerSyntax syntax_named(const std::string& name) {
  static const std::map<std::string, std::string> kTemplates = {
      {"hermes", "tools <tool_call>"},
      {"hermes+think", "tools <tool_call> <think>"},
      {"llama3", "tools <|python_tag|>"},
      {"mistral", "tools [TOOL_CALLS]"},
      {"mistral+THINK", "tools [TOOL_CALLS] [THINK]"},
      {"json", "tools"},
      {"granite", "tools <|tool_call|>"}};
  return answer_syntax_of(kTemplates.at(name), [](std::string_view) { return false; });
}

struct Case {
  std::string why;
  AnswerSyntax syntax;
  AnswerOptions options;
  std::string text;
  Told expected;
};

std::vector<Case> corpus() {
  std::ifstream in(fs::path(TESSERA_TEST_DIR) / "data" / "tool_calls.json");
  const Json rows = Json::parse(in);
  std::vector<Case> cases;
  for (const Json& row : rows) {
    Case one{.why = row["why"],
             .syntax = syntax_named(row["syntax"]),
             .options = {},
             .text = row["text"],
             .expected = {}};
    one.options.tool_names = row.value("tools", std::vector<std::string>{"a", "b", "get_weather"});
    one.options.tools = !one.options.tool_names.empty();
    one.options.one_call = row.value("one_call", false);
    one.options.in_reasoning = row.value("in_reasoning", false);
    one.expected.content = row.value("content", "");
    one.expected.reasoning = row.value("reasoning", "");
    for (const Json& call : row["calls"]) {
      one.expected.calls.push_back({.name = call[0],
                                    .arguments = call[1],
                                    .broken = call.size() > 2 && call[2] == "broken",
                                    .id = call.size() > 3 ? call[3] : ""});
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

TEST(AnswerParser, ReadsWhatModelsWrite) {
  const std::vector<Case> cases = corpus();
  ASSERT_GE(cases.size(), 60U);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.why + ": " + one.text);
    EXPECT_EQ(parse(one.syntax, one.options, one.text), one.expected);
  }
}

TEST(AnswerParser, ResultDoesNotDependOnTheCuts) {
  for (const Case& one : corpus()) {
    SCOPED_TRACE(one.why + ": " + one.text);
    for (std::size_t cut = 0; cut <= one.text.size(); ++cut) {
      ASSERT_EQ(parse(one.syntax, one.options, one.text, {cut}), one.expected) << "cut at " << cut;
    }
    std::vector<std::size_t> everywhere;
    for (std::size_t at = 1; at < one.text.size(); ++at) everywhere.push_back(at);
    EXPECT_EQ(parse(one.syntax, one.options, one.text, everywhere), one.expected);
  }
}

// Answers that are put together at random, with what they must come to.
class AnswerMaker {
 public:
  explicit AnswerMaker(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_()) % n; }

  std::string text() {
    static const std::vector<std::string> kWords = {
        "Well", "<tool", "é", "你好", "{", "}", "[", "]", "a < b", "x", "👩‍👩‍👧",
        "<",    "\"q\"", ";"};
    std::string out;
    for (std::size_t words = 1 + below(5); words > 0; --words) {
      out += (out.empty() ? "" : " ") + kWords[below(kWords.size())];
    }
    return "T " + out + " t";
  }

  Json value(int depth) {
    switch (below(depth > 2 ? 5 : 7)) {
      case 0:
        return static_cast<std::int64_t>(below(1'000'000)) - 500'000;
      case 1:
        return 0.25 * static_cast<double>(below(1000));
      case 2:
        return below(2) == 0;
      case 3:
        return nullptr;
      case 4:
        return "\" \\ \n </tool_call> " + text();
      case 5: {
        Json array = Json::array();
        for (std::size_t count = below(4); count > 0; --count) array.push_back(value(depth + 1));
        return array;
      }
      default:
        return object(depth + 1);
    }
  }

  Json object(int depth) {
    Json out = Json::object();
    for (std::size_t count = below(4); count > 0; --count) {
      out[(below(2) == 0 ? "name" : "k") + std::to_string(below(9))] = value(depth);
    }
    return out;
  }

  // As text, compact or spread out, with or without escapes.
  std::string arguments() {
    const int indent = below(2) == 0 ? -1 : static_cast<int>(below(4));
    return object(0).dump(indent, ' ', below(2) == 0);
  }

  Told::Call call() {
    return {.name = below(2) == 0 ? "a" : "get_weather", .arguments = arguments()};
  }

 private:
  std::mt19937 random_;
};

std::string object_text(const Told::Call& call, const char* member) {
  return R"({"name": ")" + call.name + R"(", ")" + member + R"(": )" + call.arguments + "}";
}

std::string calls_text(const std::string& syntax, const std::vector<Told::Call>& calls,
                       bool new_form) {
  std::string out;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (syntax.starts_with("hermes")) {
      out += "\n<tool_call>\n" + object_text(calls[i], "arguments") + "\n</tool_call>";
    } else if (syntax == "llama3") {
      out += (i > 0 ? "; " : "<|python_tag|>") + object_text(calls[i], "parameters");
    } else if (syntax.starts_with("mistral") && new_form) {
      out += "[TOOL_CALLS]" + calls[i].name + "[ARGS]" + calls[i].arguments;
    } else {
      const char* const mark = syntax.starts_with("mistral") ? "[TOOL_CALLS] [" : "<|tool_call|>[";
      out += (i > 0 ? ", " : mark) + object_text(calls[i], "arguments");
      if (i + 1 == calls.size()) out += "]";
    }
  }
  return out;
}

TEST(AnswerParser, GeneratedAnswersComeBackWhereverTheyAreCut) {
  constexpr unsigned kSeed = 20251121;
  AnswerMaker make(kSeed);
  const std::vector<std::string> syntaxes = {"hermes",  "hermes+think",  "llama3",
                                             "mistral", "mistral+THINK", "granite"};
  for (int round = 0; round < 3000; ++round) {
    const std::string& name = syntaxes[make.below(syntaxes.size())];
    const AnswerSyntax syntax = syntax_named(name);
    const AnswerOptions options{.tools = true, .tool_names = {"a", "get_weather"}};
    Told expected;
    std::string text;
    if (!syntax.think_open.empty() && make.below(2) == 0) {
      expected.reasoning = make.text();
      text += syntax.think_open + "\n" + expected.reasoning + "\n" + syntax.think_close + "\n\n";
    }
    if (make.below(2) == 0) text += expected.content = make.text();
    for (std::size_t calls = make.below(4); calls > 0; --calls) {
      expected.calls.push_back(make.call());
    }
    text += calls_text(name, expected.calls, make.below(2) == 0);
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round) + ", " +
                 name + ": " + text);
    ASSERT_EQ(parse(syntax, options, text), expected);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; at < text.size(); at += 1 + make.below(12)) cuts.push_back(at);
    ASSERT_EQ(parse(syntax, options, text, cuts), expected);
  }
}

std::string without_space(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' && c != '\n' && c != '\t' && c != '\r') out.push_back(c);
  }
  return out;
}

// Damaged answers: the cuts still do not matter, and where no call was found nothing is lost.
TEST(AnswerParser, DamagedAnswersLoseNothingWhereverTheyAreCut) {
  constexpr unsigned kSeed = 4;
  AnswerMaker make(kSeed);
  const std::vector<Case> cases = corpus();
  const std::string alphabet = "{}[]\"<>/,:;_ \nantool_clhk|ARGS";
  int num_without_calls = 0;
  for (int round = 0; round < 20'000; ++round) {
    const Case& one = cases[make.below(cases.size())];
    std::string text = one.text;
    for (std::size_t edits = 1 + make.below(3); edits > 0 && !text.empty(); --edits) {
      const std::size_t at = make.below(text.size());
      if (make.below(2) == 0) {
        text.erase(at, 1 + make.below(6));
      } else {
        text.insert(at, 1, alphabet[make.below(alphabet.size())]);
      }
    }
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round) + ": " +
                 text);
    const Told whole = parse(one.syntax, one.options, text);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; at < text.size(); at += 1 + make.below(5)) cuts.push_back(at);
    ASSERT_EQ(parse(one.syntax, one.options, text, cuts), whole);
    bool all_broken = true;
    for (const Told::Call& call : whole.calls) all_broken &= call.broken;
    if (!all_broken || !one.syntax.think_open.empty()) continue;
    ++num_without_calls;
    ASSERT_EQ(without_space(whole.content), without_space(text));
  }
  EXPECT_GT(num_without_calls, 1000);
}

TEST(AnswerParser, ArgumentsAreShownAsSoonAsTheyCome) {
  AnswerParser parser(syntax_named("hermes"), {.tools = true, .tool_names = {}});
  EXPECT_TRUE(parser.push("<tool_call>\n{\"name\": \"f\"").empty());
  const AnswerDelta begun = parser.push(", \"arguments\": {\"a\": ");
  ASSERT_EQ(begun.calls.size(), 1U);
  EXPECT_TRUE(begun.calls[0].begins);
  EXPECT_EQ(begun.calls[0].name, "f");
  EXPECT_EQ(begun.calls[0].arguments, "{\"a\": ");
  const AnswerDelta more = parser.push("\"x");
  ASSERT_EQ(more.calls.size(), 1U);
  EXPECT_FALSE(more.calls[0].begins);
  EXPECT_EQ(more.calls[0].arguments, "\"x");
}

TEST(AnswerParser, TextIsShownAsSoonAsItIsNoMark) {
  AnswerParser parser(syntax_named("hermes+think"), {.tools = true, .tool_names = {}});
  EXPECT_EQ(parser.push("So").content, "So");
  EXPECT_EQ(parser.push(" <tool").content, "");
  EXPECT_EQ(parser.push("box>").content, " <toolbox>");
}

TEST(AnswerSyntax, IsToldByTheTemplateAndThenByTheTokens) {
  const auto none = [](std::string_view) { return false; };
  const auto format = [&](std::string_view source) { return answer_syntax_of(source, none).tools; };
  EXPECT_EQ(format("{{ tools }}<tool_call>"), ToolFormat::kHermes);
  EXPECT_EQ(format("{{ tools }}[TOOL_CALLS]"), ToolFormat::kMistral);
  EXPECT_EQ(format("{% if tools %}Environment: ipython {\"name\": x, \"parameters\": y}"),
            ToolFormat::kLlama3);
  EXPECT_EQ(format("{{ tools }}"), ToolFormat::kJson);
  EXPECT_EQ(format("<tool_call>"), ToolFormat::kNone) << "it takes no tools";
  EXPECT_EQ(format("{{ xml_tools }} {{ x.tools }}"), ToolFormat::kNone);
  EXPECT_EQ(format("{{ tools }}<tool_call><function=x>"), ToolFormat::kNone) << "no JSON";
  const auto has_mark = [](std::string_view token) { return token == "[TOOL_CALLS]"; };
  EXPECT_EQ(answer_syntax_of("{{ tools }}", has_mark).tools, ToolFormat::kMistral);
  EXPECT_EQ(answer_syntax_of("{{ tools }}", has_mark, ToolFormat::kHermes).tools,
            ToolFormat::kHermes);
  EXPECT_EQ(answer_syntax_of("<think>", none).think_close, "</think>");
  EXPECT_EQ(answer_syntax_of("", none).think_open, "");
}

// Which convention real families have; their templates are no part of this repository.
TEST(AnswerSyntax, IsRightForRealTemplates) {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const fs::path data = set ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data";
  const fs::path directory = data / "chat_templates";
  if (!fs::exists(directory)) GTEST_SKIP() << "no templates at " << directory;
  const std::map<std::string, std::string> expected = {
      {"Qwen-Qwen2.5-7B-Instruct", "hermes"},
      {"Qwen-Qwen3-0.6B", "hermes think"},
      {"Qwen-QwQ-32B", "hermes think"},
      {"Qwen3-Coder", "none"},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"},
      {"meta-llama-Llama-3.1-8B-Instruct", "llama3"},
      {"meta-llama-Llama-3.2-3B-Instruct", "llama3"},
      {"meta-llama-Llama-3.3-70B-Instruct", "llama3"},
      {"mistralai-Mistral-Nemo-Instruct-2407", "mistral"},
      {"Mistral-Small-3.2-24B-Instruct-2506", "mistral"},
      {"unsloth-mistral-Devstral-Small-2507", "mistral"},
      {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral think"},
      {"ibm-granite-granite-3.3-2B-Instruct", "json think"},
      {"ibm-granite-granite-4.0", "hermes"},
      {"GLM-4.6", "none think"},
      {"microsoft-Phi-3.5-mini-instruct", "none"},
      {"google-gemma-2-2b-it", "none"},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "none think"}};
  for (const auto& [name, convention] : expected) {
    std::ifstream in(directory / (name + ".jinja"));
    ASSERT_TRUE(in) << name;
    const std::string source{std::istreambuf_iterator<char>(in), {}};
    const AnswerSyntax syntax = answer_syntax_of(source, [](std::string_view) { return false; });
    EXPECT_EQ(std::string(to_string(syntax.tools)) + (syntax.think_open.empty() ? "" : " think"),
              convention)
        << name;
  }
}

}  // namespace
}  // namespace tessera
