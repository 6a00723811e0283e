#include "tenancy/slug.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Slug, ResemblesTheNameAndIsAlwaysOne) {
  EXPECT_EQ(slug_of("Acme & Sons"), "acme-sons");
  EXPECT_EQ(slug_of("  --Zoo42!! "), "zoo42");
  EXPECT_EQ(slug_of("Über"), "ber");
  EXPECT_EQ(slug_of("日本"), "project");
  EXPECT_EQ(slug_of(""), "project");
  for (const std::string& name : {std::string(300, 'x'), std::string(55, 'y') + "-----z"}) {
    EXPECT_TRUE(is_slug(slug_of(name) + "-123456")) << name;
  }
}

TEST(Slug, MustFitADnsLabel) {
  EXPECT_TRUE(is_slug("a"));
  EXPECT_TRUE(is_slug("a-1"));
  EXPECT_TRUE(is_slug(std::string(63, 'a')));
  for (const std::string& text :
       {std::string(), std::string("-a"), std::string("a-"), std::string("A"), std::string("a b"),
        std::string("a/b"), std::string("a\0b", 3), std::string(64, 'a')}) {
    EXPECT_FALSE(is_slug(text)) << text;
  }
}

TEST(Name, IsAnyShortTextWithoutControlCharacters) {
  EXPECT_TRUE(check_name("Über & Söhne <b>"));
  EXPECT_TRUE(check_name(std::string(kMaxNameBytes, 'x')));
  for (const std::string& name :
       {std::string(), std::string(kMaxNameBytes + 1, 'x'), std::string("a\nb"),
        std::string("\x1b[2J"), std::string("a\0b", 3), std::string("\x7f")}) {
    EXPECT_EQ(check_name(name).error().code, Code::kInvalidValue);
  }
}

}  // namespace
}  // namespace tessera
