#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/chat_prompt.hpp"
#include "engine/text/chat_template.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// When the goldens' clock stands still: 2024-07-26 09:05:07 UTC.
constexpr WallTime kNow{std::chrono::seconds(1'721'984'707)};

const fs::path kData = fs::path(TESSERA_TEST_DIR) / "data";

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

Json read_json(const char* name) {
  return Json::parse(read(kData / name));
}

struct Rendering {
  std::string kind;  // "text", "raised" or "error", as in the goldens
  std::string text;
};

Rendering told(const Result<std::string>& rendered) {
  if (rendered) return {"text", *rendered};
  const bool ours = rendered.error().message.starts_with("chat template: ");
  return {ours ? "error" : "raised", rendered.error().message};
}

Rendering render(const std::string& source, const Json& variables) {
  auto parsed = ChatTemplate::parse(source);
  if (!parsed) return {"error", parsed.error().message};
  return told(parsed->render(variables, kNow));
}

// `conversation` has the arguments of apply_chat_template.
ChatInput input_of(const Json& conversation) {
  ChatInput input;
  for (const auto& [name, value] : conversation.items()) {
    if (name == "messages") {
      input.messages = value;
    } else if (name == "tools") {
      input.tools = value;
    } else if (name == "documents") {
      input.documents = value;
    } else if (name == "add_generation_prompt") {
      input.add_generation_prompt = value;
    } else if (name == "continue_final_message") {
      input.continued_member = value.is_string() ? value.get<std::string>() : "content";
    } else {
      input.variables[name] = value;
    }
  }
  return input;
}

Rendering render_conversation(const std::string& source, const Json& conversation) {
  auto parsed = ChatTemplate::parse(source);
  if (!parsed) return {"error", parsed.error().message};
  return told(render_chat(*parsed, input_of(conversation), kNow));
}

void expect_rendering(const Rendering& got, const Json& kind, const Json& text) {
  EXPECT_EQ(got.kind, kind) << got.text;
  if (kind != "error") {
    EXPECT_EQ(got.text, text);
  }
}

std::string digest(const std::string& text) {
  return to_hex(sha256(std::as_bytes(std::span(text)))).substr(0, 12);
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

Result<std::string> render_text(const std::string& source, const TemplateLimits& limits = {}) {
  auto parsed = ChatTemplate::parse(source, limits);
  if (!parsed) return parsed.error();
  return parsed->render(Json::object(), kNow);
}

TEST(ChatTemplate, EveryCornerOfTheLanguageIsAsInJinja) {
  const Json goldens = read_json("chat_goldens.json");
  ASSERT_GE(goldens["snippets"].size(), 70U);
  for (const Json& row : goldens["snippets"]) {
    SCOPED_TRACE(row[0].get<std::string>());
    expect_rendering(render(row[0], goldens["variables"]), row[1], row[2]);
  }
}

TEST(ChatTemplate, OurTemplatesRenderEveryConversationAsJinja) {
  const Json goldens = read_json("chat_goldens.json");
  const Json conversations = read_json("conversations.json");
  ASSERT_GE(goldens["templates"].size(), 2U);
  for (const auto& [name, rows] : goldens["templates"].items()) {
    const std::string source = read(kData / "chat" / name);
    ASSERT_EQ(rows.size(), conversations.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE(name + ", conversation " + std::to_string(i));
      expect_rendering(render_conversation(source, conversations[i]), rows[i][0], rows[i][1]);
    }
  }
}

// Templates of real models, which are not part of this repository: set TESSERA_SHARED_DATA.
TEST(ChatTemplate, TemplatesOfRealModelsRenderEveryConversationAsJinja) {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const fs::path data = set ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data";
  const fs::path directory = data / "chat_templates";
  if (!fs::exists(directory)) GTEST_SKIP() << "no templates at " << directory;
  const Json goldens = read_json("third_party_chat.json");
  const Json conversations = read_json("conversations.json");
  ASSERT_GE(conversations.size(), 40U);
  int num_templates = 0;
  for (const auto& [name, golden] : goldens.items()) {
    const std::string source = read(directory / name);
    if (to_hex(sha256(std::as_bytes(std::span(source)))) != golden["sha256"]) continue;
    ++num_templates;
    int num_wrong = 0;
    std::string first_wrong;
    const std::vector<std::string> rows = words_of(golden["rows"]);
    ASSERT_EQ(rows.size(), conversations.size());
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      const Rendering got = render_conversation(source, conversations[i]);
      if (got.kind.front() + digest(got.kind == "error" ? "" : got.text) == rows[i]) continue;
      if (num_wrong++ == 0) first_wrong = std::to_string(i) + ": " + got.kind + ' ' + got.text;
    }
    EXPECT_EQ(num_wrong, 0) << name << ", first conversation " << first_wrong;
  }
  EXPECT_GT(num_templates, 0);
  RecordProperty("templates", num_templates);
}

TEST(ChatTemplate, RaiseExceptionGivesTheTemplatesOwnText) {
  auto rendered = render_text("{{ raise_exception('roles must alternate') }}");
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().code, Code::kInvalidValue);
  EXPECT_EQ(rendered.error().message, "roles must alternate");
}

TEST(ChatTemplate, SyntaxErrorNamesTheLine) {
  auto parsed = ChatTemplate::parse("a\nb\n{% if x %}\n{% endfor %}");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Code::kUnsupportedModel);
  EXPECT_NE(parsed.error().message.find("line 4"), std::string::npos) << parsed.error().message;
}

TEST(ChatTemplate, EndlessWorkIsStoppedByTheStepLimit) {
  auto rendered =
      render_text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                  {.steps_max = 100'000});
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().code, Code::kRequestExceedsLimit);
}

TEST(ChatTemplate, EndlessTextIsStoppedByTheOutputLimit) {
  const TemplateLimits limits{.output_bytes_max = 1000};
  for (const char* source :
       {"{% for a in range(2000) %}x{% endfor %}", "{{ 'x' * 2000 }}",
        "{{ 'x' * 9223372036854775807 }}", "{{ [0] * 9000000000 }}",
        "{{ '%5000d' % 1 }}{{ 'abc'.zfill(2000) }}", "{{ 'a b c' | replace(' ', 'x' * 999) }}"}) {
    auto rendered = render_text(source, limits);
    ASSERT_FALSE(rendered) << source;
    EXPECT_EQ(rendered.error().code, Code::kRequestExceedsLimit) << source;
  }
}

// Strings that are kept cost memory though each is below the limit of one.
TEST(ChatTemplate, ManyLongTextsAreStoppedByTheStepLimit) {
  for (const char* source :
       {"{% set ns = namespace(l=[]) %}{% for i in range(9999) %}"
        "{% set ns.l = ns.l + ['x' * 60000] %}{% endfor %}",
        "{% set ns = namespace(l=[], s='x' * 60000) %}{% for i in range(9999) %}"
        "{% set ns.l = ns.l + [ns.s ~ i] %}{% endfor %}",
        "{% set ns = namespace(l=[], s='x' * 60000) %}{% for i in range(9999) %}"
        "{% set ns.l = ns.l + [ns.s | replace('x', 'y')] %}{% endfor %}"}) {
    auto rendered = render_text(source, {.steps_max = 100'000});
    ASSERT_FALSE(rendered) << source;
    EXPECT_EQ(rendered.error().code, Code::kRequestExceedsLimit) << source;
  }
}

TEST(ChatTemplate, ATextThatGrowsWithALongConversationIsNotStopped) {
  auto rendered = render_text(
      "{% set ns = namespace(s='') %}{% for i in range(1000) %}{% set ns.s = ns.s ~ 'word ' * 200 "
      "%}"
      "{% endfor %}{{ ns.s | length }}");
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(*rendered, "1000000");
}

TEST(ChatTemplate, EndlessRecursionIsStoppedByTheDepthLimit) {
  auto rendered = render_text("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().code, Code::kRequestExceedsLimit);
}

TEST(ChatTemplate, DeepSourceAndDeepValuesAreRefused) {
  const std::string many(100'000, '(');
  EXPECT_FALSE(ChatTemplate::parse("{{ " + many));
  EXPECT_FALSE(ChatTemplate::parse("{{ " + std::string(100'000, '-') + "1 }}"));
  std::string blocks;
  for (int i = 0; i < 10'000; ++i) blocks += "{% if 1 %}";
  EXPECT_FALSE(ChatTemplate::parse(blocks));
  auto rendered = render_text(
      "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}"
      "{{ ns.x }}");
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().code, Code::kRequestExceedsLimit);
}

TEST(ChatTemplate, LongChainsOfOperatorsDoNotOverflowTheStack) {
  std::string source = "{{ 1";
  for (int i = 0; i < 200'000; ++i) source += " + 1";
  auto parsed = ChatTemplate::parse(source + " }}");
  EXPECT_FALSE(parsed);
}

TEST(ChatTemplate, NamespacesThatHoldThemselvesLeakNothing) {
  auto rendered = render_text(
      "{% set a = namespace() %}{% set a.self = a %}{% set a.list = [a] %}"
      "{% macro m() %}{{ a }}{% endmacro %}{% set a.m = m %}done");
  ASSERT_TRUE(rendered);
  EXPECT_EQ(*rendered, "done");  // the leak is the address sanitizer's to find
}

// Mutated templates and conversations: any answer will do, as long as there is one.
TEST(ChatTemplate, DamagedTemplatesAreAnsweredAndNeverCrash) {
  const Json conversations = read_json("conversations.json");
  const std::string source = read(kData / "chat" / "tools.jinja");
  constexpr unsigned kSeed = 20240726;
  std::uint64_t state = kSeed;
  const auto random = [&state](std::size_t below) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state >> 33U) % below;
  };
  const std::string alphabet = "{}%#-+|'\"()[].,:=~*/<> \nifsetor01";
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round));
    std::string damaged = source;
    for (std::size_t edits = 1 + random(4); edits > 0; --edits) {
      const std::size_t at = random(damaged.size());
      switch (random(3)) {
        case 0:
          damaged[at] = alphabet[random(alphabet.size())];
          break;
        case 1:
          damaged.erase(at, 1 + random(20));
          break;
        default:
          damaged.insert(at, 1, alphabet[random(alphabet.size())]);
      }
    }
    auto parsed = ChatTemplate::parse(damaged, {.steps_max = 100'000});
    if (!parsed) {
      EXPECT_EQ(parsed.error().code, Code::kUnsupportedModel);
      continue;
    }
    auto rendered = parsed->render(conversations[random(conversations.size())], kNow);
    EXPECT_TRUE(rendered || rendered.error().code == Code::kInvalidValue ||
                rendered.error().code == Code::kRequestExceedsLimit);
  }
}

}  // namespace
}  // namespace tessera
