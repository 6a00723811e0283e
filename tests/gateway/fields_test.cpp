#include "gateway/api/fields.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using Json = Fields::Json;

TEST(Fields, NullEqualsAbsentEverywhere) {
  const Json object = {{"a", nullptr}, {"b", nullptr}, {"c", nullptr},
                       {"d", nullptr}, {"e", nullptr}, {"f", nullptr}};
  std::string text = "kept";
  bool flag = true;
  std::optional<std::int64_t> integer;
  double number = 0.5;
  std::vector<std::string> stops;
  Fields fields(object);
  fields.text("a", 4, text);
  fields.boolean("b", flag);
  fields.integer("c", {0, 1}, integer);
  fields.number("d", {0, 1}, number);
  fields.one_or_more("e", 2, 4, stops);
  fields.unsupported("f");
  EXPECT_TRUE(fields.finish());
  EXPECT_EQ(text, "kept");
  EXPECT_TRUE(flag);
  EXPECT_FALSE(integer);
  EXPECT_EQ(number, 0.5);
}

TEST(Fields, RequiredNullIsMissing) {
  const Json object = {{"a", nullptr}};
  std::string text;
  Fields fields(object, "messages[2].");
  fields.required("a", text);
  const auto read = fields.finish();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kMissingRequiredParameter);
  EXPECT_EQ(read.error().param, "messages[2].a");
}

TEST(Fields, UnaskedMemberIsUnknown) {
  const Json object = {{"a", 1}, {"temprature", 2}};
  Fields fields(object);
  fields.ignored("a");
  const auto read = fields.finish();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kUnknownParameter);
  EXPECT_EQ(read.error().param, "temprature");
}

TEST(Fields, FirstFaultIsTold) {
  const Json object = {{"a", "x"}, {"b", 7}};
  bool flag = false;
  Fields fields(object);
  fields.boolean("b", flag);
  fields.boolean("a", flag);
  EXPECT_EQ(fields.finish().error().param, "b");
}

TEST(Fields, IntegersMayBeWrittenAsDoublesButNotTruncated) {
  const auto read = [](const Json& value) {
    const Json object = {{"a", value}};
    std::optional<std::int64_t> out;
    Fields fields(object);
    fields.integer("a", {-10, 10}, out);
    return fields.finish() ? out : std::nullopt;
  };
  EXPECT_EQ(read(3), 3);
  EXPECT_EQ(read(-3), -3);
  EXPECT_EQ(read(3.0), 3);
  EXPECT_FALSE(read(3.5));
  EXPECT_FALSE(read(11));
  EXPECT_FALSE(read(1e300));
  EXPECT_FALSE(read(18446744073709551615ULL));
  EXPECT_FALSE(read("3"));
  EXPECT_FALSE(read(true));
}

TEST(Fields, UnsupportedAcceptsOnlyItsNeutralValues) {
  const auto read = [](const Json& value) {
    const Json object = {{"n", value}};
    Fields fields(object);
    fields.unsupported("n", {1});
    return fields.finish();
  };
  EXPECT_TRUE(read(1));
  EXPECT_TRUE(read(1.0));
  EXPECT_TRUE(read(nullptr));
  ASSERT_FALSE(read(2));
  EXPECT_EQ(read(2).error().code, Code::kUnsupportedParameter);
  EXPECT_EQ(read(2).error().param, "n");
}

TEST(Fields, NotAnObject) {
  const Json array = Json::array({1});
  Fields fields(array, "stream_options.");
  fields.ignored("a");
  const auto read = fields.finish();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kInvalidValue);
  EXPECT_EQ(read.error().param, "stream_options");
}

}  // namespace
}  // namespace tessera
