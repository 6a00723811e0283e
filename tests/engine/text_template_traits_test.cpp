#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "engine/text/template_traits.hpp"

namespace tessera {
namespace {

TemplateTraits traits_of(const std::string& source) {
  return probe_template(ChatTemplate::parse(source).value());
}

TEST(TemplateTraits, AnUnassumingTemplateTakesNothing) {
  const TemplateTraits traits =
      traits_of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
  EXPECT_FALSE(traits.takes_tools);
  EXPECT_FALSE(traits.takes_parts) << "it would print the list as Python does";
  EXPECT_FALSE(traits.arguments_as_text);
  EXPECT_FALSE(traits.knows_developer);
}

TEST(TemplateTraits, PartsAreTakenWhereTheyAreRead) {
  EXPECT_TRUE(traits_of("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}"
                        "{% endfor %}")
                  .takes_parts);
}

TEST(TemplateTraits, ArgumentsAreAnObjectUnlessThatFails) {
  const std::string head =
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name }}";
  EXPECT_FALSE(traits_of(head + "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}")
                   .arguments_as_text);
  EXPECT_TRUE(traits_of(head + "{{ ' ' + c.function.arguments }}{% endfor %}{% endfor %}")
                  .arguments_as_text);
}

TEST(TemplateTraits, NoContentIsEmptyWhereNoneWouldFailOrShow) {
  const std::string tail =
      "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor "
      "%}";
  EXPECT_FALSE(
      traits_of("{% for m in messages %}{% if m.content %}{{ m.content }}{% endif %}" + tail)
          .null_content_as_empty);
  EXPECT_TRUE(
      traits_of("{% for m in messages %}{{ m.content + '\n' }}" + tail).null_content_as_empty);
  EXPECT_TRUE(traits_of("{% for m in messages %}{{ m.content }}" + tail).null_content_as_empty);
}

TEST(TemplateTraits, VariablesAreFoundByTheirWholeNames) {
  const TemplateTraits traits = traits_of(
      "{% if tools %}{% endif %}{% if enable_thinking is defined %}{% endif %}{{ x.developer }}");
  EXPECT_TRUE(traits.takes_tools);
  EXPECT_TRUE(traits.takes_enable_thinking);
  EXPECT_FALSE(traits.knows_developer);
  EXPECT_FALSE(traits.takes_reasoning_effort);
}

TEST(TemplateTraits, AreRightForRealTemplates) {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const std::filesystem::path data =
      set ? std::filesystem::path(set)
          : std::filesystem::path(TESSERA_SOURCE_DIR) / "../shared/data";
  const std::filesystem::path directory = data / "chat_templates";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no templates at " << directory;
  // takes tools, takes parts, wants arguments as text
  const std::map<std::string, std::string> expected = {
      {"Qwen-Qwen2.5-7B-Instruct", "tools object"},
      {"Qwen-Qwen3-0.6B", "tools object"},
      {"meta-llama-Llama-3.1-8B-Instruct", "tools object"},
      {"mistralai-Mistral-Nemo-Instruct-2407", "tools object"},
      {"Mistral-Small-3.2-24B-Instruct-2506", "tools parts object"},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "text"},
      {"google-gemma-2-2b-it", "object"},
  };
  for (const auto& [name, told] : expected) {
    std::ifstream in(directory / (name + ".jinja"));
    ASSERT_TRUE(in) << name;
    const TemplateTraits traits = traits_of(std::string{std::istreambuf_iterator<char>(in), {}});
    const std::string got = std::string(traits.takes_tools ? "tools " : "") +
                            (traits.takes_parts ? "parts " : "") +
                            (traits.arguments_as_text ? "text" : "object");
    EXPECT_EQ(got, told) << name;
  }
}

}  // namespace
}  // namespace tessera
