#include "gateway/cli/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Values {
  std::string text = "default";
  std::vector<std::string> list;
  int number = 1;
  std::int64_t bytes = 0;
  std::string choice = "a";
  bool flag = false;

  std::vector<Option> options() {
    return {text_option("--text", "T", "a text", text),
            list_option("--item", "I", "an item", list),
            integer_option("--number", "N", "a number", {0, 10}, number),
            bytes_option("--bytes", "a size", bytes),
            choice_option("--choice", {"a", "b"}, "a choice", choice),
            switch_option("--flag", "a switch", flag)};
  }
};

Result<std::vector<std::string>> parse(Values& values, std::vector<std::string> arguments) {
  return parse_options(arguments, values.options());
}

TEST(Options, BothSpellingsAndTheRest) {
  Values values;
  const auto rest = parse(values, {"src", "--text", "x", "--number=7", "--item=a", "dst", "--item",
                                   "b", "--flag", "--choice", "b"});
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_THAT(*rest, ElementsAre("src", "dst"));
  EXPECT_EQ(values.text, "x");
  EXPECT_EQ(values.number, 7);
  EXPECT_THAT(values.list, ElementsAre("a", "b"));
  EXPECT_TRUE(values.flag);
  EXPECT_EQ(values.choice, "b");
}

TEST(Options, BytesHaveBinaryUnits) {
  Values values;
  ASSERT_TRUE(parse(values, {"--bytes", "512M"}));
  EXPECT_EQ(values.bytes, std::int64_t{512} << 20);
  ASSERT_TRUE(parse(values, {"--bytes", "12345"}));
  EXPECT_EQ(values.bytes, 12345);
}

TEST(Options, WrongUseIsNamed) {
  const auto message = [](std::vector<std::string> arguments) {
    Values values;
    const auto parsed = parse(values, std::move(arguments));
    return parsed ? "accepted" : parsed.error().message;
  };
  EXPECT_THAT(message({"--nubmer", "3"}), HasSubstr("--nubmer"));
  EXPECT_THAT(message({"--number"}), HasSubstr("needs a value"));
  EXPECT_THAT(message({"--number", "11"}), HasSubstr("from 0 to 10"));
  EXPECT_THAT(message({"--number", "3x"}), HasSubstr("integer"));
  EXPECT_THAT(message({"--bytes", "0"}), HasSubstr("bytes"));
  EXPECT_THAT(message({"--bytes", "99999999T"}), HasSubstr("bytes"));
  EXPECT_THAT(message({"--choice", "c"}), HasSubstr("one of a, b"));
  EXPECT_THAT(message({"--flag=1"}), HasSubstr("no value"));
}

TEST(Options, HelpListsEachOption) {
  Values values;
  const std::string help = describe_options(values.options());
  for (const char* line :
       {"--text T", "--item I", "--number N", "--bytes BYTES", "--choice {a,b}", "--flag"}) {
    EXPECT_THAT(help, HasSubstr(line));
  }
}

}  // namespace
}  // namespace tessera
