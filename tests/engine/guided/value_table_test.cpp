#include "engine/guided/value_table.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::guided {
namespace {

ValueId number(ValueTable& table, const char* text) {
  return table.number(Decimal::parse(text).value());
}

TEST(ValueTable, NumbersAreEqualByValue) {
  ValueTable table;
  const ValueId one = number(table, "1");
  EXPECT_EQ(number(table, "1.0"), one);
  EXPECT_EQ(number(table, "10e-1"), one);
  EXPECT_NE(number(table, "-1"), one);
  EXPECT_NE(number(table, "10"), one);
  EXPECT_EQ(number(table, "0"), number(table, "-0.0"));
  EXPECT_NE(number(table, "1e300"), number(table, "1e301"));
  EXPECT_EQ(table.as_number(one), Decimal(1));
}

TEST(ValueTable, KindsDoNotMix) {
  ValueTable table;
  const std::vector<ValueId> different = {
      table.null(),       table.boolean(false), table.boolean(true), number(table, "0"),
      number(table, "1"), table.string(""),     table.string("0"),   table.string("null"),
      table.array({}),    table.object({})};
  for (std::size_t i = 0; i < different.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(different[i], different[j]) << i << " " << j;
  }
  EXPECT_EQ(table.kind(table.null()), JsonKind::kNull);
  EXPECT_FALSE(table.as_boolean(table.boolean(false)));
  EXPECT_TRUE(table.as_boolean(table.boolean(true)));
}

TEST(ValueTable, StringsKeepEveryByte) {
  ValueTable table;
  const std::string with_nul("a\0b", 3);
  const ValueId id = table.string(with_nul);
  EXPECT_EQ(table.as_string(id), with_nul);
  EXPECT_EQ(table.string(with_nul), id);
  EXPECT_NE(table.string("a"), id);
}

TEST(ValueTable, ArraysAreEqualItemByItem) {
  ValueTable table;
  const std::vector<ValueId> ab = {table.string("a"), table.string("b")};
  const std::vector<ValueId> ba = {ab[1], ab[0]};
  const ValueId id = table.array(ab);
  EXPECT_EQ(table.array(ab), id);
  EXPECT_NE(table.array(ba), id);
  EXPECT_EQ(table.items(id).size(), 2U);
  EXPECT_EQ(table.items(id)[1], ab[1]);
}

TEST(ValueTable, ObjectsHaveNoOrderButKeepTheFirst) {
  ValueTable table;
  const ValueId one = number(table, "1");
  const ValueId two = number(table, "2");
  const std::vector<ValueTable::Member> first = {{"b", one}, {"a", two}};
  const std::vector<ValueTable::Member> other = {{"a", two}, {"b", one}};
  const std::vector<ValueTable::Member> swapped = {{"a", one}, {"b", two}};
  const ValueId id = table.object(first);
  EXPECT_EQ(table.object(other), id);
  EXPECT_NE(table.object(swapped), id);
  ASSERT_EQ(table.members(id).size(), 2U);
  EXPECT_EQ(table.members(id)[0].first, "b");
}

TEST(ValueTable, WhatIsHandedOutStaysWhereItIs) {
  ValueTable table;
  const std::string& text = table.as_string(table.string("kept"));
  const std::vector<ValueId> two = {table.null(), table.null()};
  const auto items = table.items(table.array(two));
  for (int i = 0; i < 10'000; ++i) {
    const std::vector<ValueId> one = {table.string(std::to_string(i))};
    table.array(one);
  }
  ValueTable moved = std::move(table);
  EXPECT_EQ(text, "kept");
  EXPECT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0], moved.null());
}

}  // namespace
}  // namespace tessera::guided
