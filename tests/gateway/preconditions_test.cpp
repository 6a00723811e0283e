#include "gateway/api/preconditions.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

Result<Precondition> read(const char* name, const char* value) {
  return precondition_of({{name, value}});
}

TEST(Preconditions, NoneIsNoCondition) {
  const auto none = precondition_of({});
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->check(""));
  EXPECT_TRUE(none->check("\"a\""));
}

TEST(Preconditions, AStarWantsAnythingOrNothing) {
  const auto any = read("if-match", " * ").value();
  EXPECT_TRUE(any.check("\"a\""));
  EXPECT_EQ(any.check("").error().code, Code::kPreconditionFailed);
  const auto none = read("if-none-match", "*").value();
  EXPECT_TRUE(none.check(""));
  EXPECT_FALSE(none.check("\"a\""));
}

TEST(Preconditions, AListMatchesEachOfItsTags) {
  const auto list = read("if-match", R"("a" ,"b, c",W/"d")").value();
  EXPECT_EQ(list.etags.size(), 3U);
  EXPECT_TRUE(list.check("\"a\""));
  EXPECT_TRUE(list.check("\"b, c\""));
  EXPECT_FALSE(list.check("\"d\"")) << "a weak tag matches nothing";
  EXPECT_FALSE(list.check("\"c\""));
  EXPECT_FALSE(list.check(""));
}

TEST(Preconditions, AnythingElseIsRefusedByName) {
  for (const char* wrong : {"a", "\"a", "\"a\" \"b\"", "\"a\",", ",", "*, \"a\"", "W/a"}) {
    const auto refused = read("if-match", wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, Code::kInvalidValue);
    EXPECT_EQ(refused.error().param, "If-Match");
  }
  EXPECT_EQ(read("if-none-match", "\"a\"").error().param, "If-None-Match");
  std::string many = "\"x\"";
  for (int i = 0; i < 16; ++i) many += ",\"x\"";
  EXPECT_FALSE(read("if-match", many.c_str()));
}

}  // namespace
}  // namespace tessera
