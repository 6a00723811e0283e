#include "gateway/api/raw_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RawJson, AMemberIsGivenByteForByte) {
  constexpr std::string_view kText =
      R"( { "a" : 1.50 , "b":{"c":[1,{"d":"}]\""}] , "e" : -2e400} ,"f": "x\\" , "g": null })";
  EXPECT_EQ(raw_member(kText, "a"), "1.50");
  EXPECT_EQ(raw_member(kText, "b"), R"({"c":[1,{"d":"}]\""}] , "e" : -2e400})");
  EXPECT_EQ(raw_member(raw_member(kText, "b"), "e"), "-2e400");
  EXPECT_EQ(raw_member(kText, "f"), R"("x\\")");
  EXPECT_EQ(raw_member(kText, "g"), "null");
  EXPECT_EQ(raw_member(kText, "d"), "") << "a member of another object";
  EXPECT_EQ(raw_member("{}", "a"), "");
  EXPECT_EQ(raw_member("[1]", "a"), "");
  EXPECT_EQ(raw_member("", "a"), "");
}

TEST(RawJson, NamesMayBeWrittenWithEscapes) {
  EXPECT_EQ(raw_member(R"({"\u0061b": 1})", "ab"), "1");
  EXPECT_EQ(raw_member(R"({"a\"": 1, "a": 2})", "a"), "2");
}

TEST(RawJson, ElementsAreGivenOneByOne) {
  EXPECT_THAT(raw_elements(R"([ 1, [2,3] ,"a,b", {"c":[]},true])"),
              ElementsAre("1", "[2,3]", R"("a,b")", R"({"c":[]})", "true"));
  EXPECT_THAT(raw_elements("[]"), IsEmpty());
  EXPECT_THAT(raw_elements("{}"), IsEmpty());
}

}  // namespace
}  // namespace tessera
