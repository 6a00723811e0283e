#include "tenancy/prices.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr char kTable[] = R"({
  "currency": "USD",
  "models": {
    "*": {"default": {"input": "0.15", "cached_input": "0.075", "output": "0.60"},
          "flex": {"input": "0.075", "output": 1}},
    "big": {"default": {"input": "3", "output": "15.000001"}}
  }
})";

TEST(Prices, AreExact) {
  EXPECT_EQ(parse_price("0.15")->pico_dollars, 150'000);
  EXPECT_EQ(parse_price("15.000001")->pico_dollars, 15'000'001);
  EXPECT_EQ(parse_price("0")->pico_dollars, 0);
  for (const char* text :
       {"", ".5", "1.", "-1", "1e3", "0.1234567", "1234567", " 1", "1,5", "0x1"}) {
    EXPECT_FALSE(parse_price(text)) << text;
  }
}

TEST(Prices, FallToDefaultTierAndToStar) {
  const auto table = PriceTable::parse(kTable);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table->of("any", "default").output, Money{600'000});
  EXPECT_EQ(table->of("any", "flex").input, Money{75'000});
  EXPECT_EQ(table->of("any", "flex").cached_input, Money{75'000});
  EXPECT_EQ(table->of("big", "flex").input, Money{3'000'000});
  EXPECT_TRUE(table->names("big"));
  EXPECT_FALSE(table->names("any"));
  EXPECT_EQ(PriceTable().of("any", "default"), Price());
}

TEST(Prices, CostOfARequestIsTheSumOfItsTokens) {
  const Price price = PriceTable::parse(kTable)->of("any", "default");
  EXPECT_EQ(price.of(1000, 400, 10).pico_dollars, 600 * 150'000 + 400 * 75'000 + 10 * 600'000);
  EXPECT_EQ(price.at_most(1000, 10).pico_dollars, 1000 * 150'000 + 10 * 600'000);
  EXPECT_LE(price.of(1000, 400, 10), price.at_most(1000, 10));
}

TEST(Prices, ATierIsSoldWhereItHasAPrice) {
  const auto table = PriceTable::parse(
      R"({"models": {"a": {"default": {"input": "1", "output": "1"},
                           "flex": {"input": "1", "output": "1"}},
                     "*": {"default": {"input": "1", "output": "1"}}}})");
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->sells("a", "flex"));
  EXPECT_FALSE(table->sells("a", "priority"));
  EXPECT_FALSE(table->sells("b", "flex"));
  EXPECT_TRUE(table->sells("b", "default"));
  EXPECT_TRUE(PriceTable().sells("b", "flex")) << "where nothing costs, everything is sold";
}

TEST(Prices, WhatIsNotUnderstoodIsRefusedByItsPlace) {
  const auto place_of = [](std::string_view text) {
    const auto table = PriceTable::parse(text);
    return table ? std::string("accepted") : table.error().param;
  };
  EXPECT_EQ(place_of(R"({"models": {"a": {"default": {"input": "1"}}}})"), "models.a.default");
  EXPECT_EQ(place_of(R"({"models": {"a": {"flex": {"input": "1", "output": "1"}}}})"), "models.a");
  EXPECT_EQ(place_of(R"({"models": {"a": {"default": {"input": 0.1, "output": "1"}}}})"),
            "models.a.default.input");
  EXPECT_EQ(place_of(R"({"models": {"a": {"default": {"input": "1", "output": "1", "x": "1"}}}})"),
            "models.a.default.x");
  EXPECT_EQ(place_of(R"({"currency": "EUR", "models": {}})"), "currency");
  EXPECT_EQ(place_of(R"({"modles": {}})"), "modles");
  EXPECT_FALSE(PriceTable::parse("[]"));
  EXPECT_FALSE(PriceTable::parse("{"));
}

TEST(Money, SumsStayAtTheLargest) {
  const Money most{std::numeric_limits<std::int64_t>::max()};
  EXPECT_EQ(most + Money{1}, most);
  EXPECT_EQ(times(Money{1'000'000'000'000}, 1'000'000'000'000), most);
  EXPECT_EQ((Money::of_cents(123) + Money{1}).whole_cents(), 123);
}

}  // namespace
}  // namespace tessera
