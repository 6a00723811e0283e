#include <gtest/gtest.h>

#include "gateway/cli/remote.hpp"
#include "gateway/cli/text_table.hpp"

namespace tessera {
namespace {

TEST(TextTable, ColumnsAreAlignedAndNumbersStandToTheRight) {
  EXPECT_EQ(text_table({"NAME", "N"}, {{"a", "1"}, {"longer", "100"}}),
            "NAME      N\n"
            "a         1\n"
            "longer  100\n");
}

TEST(TextTable, ANameCannotMoveTheCursorOrDisturbTheColumns) {
  EXPECT_EQ(text_table({"NAME", "X"}, {{"a\x1b[2J\n", "y"}, {"zwölf", "z"}}),
            "NAME    X\n"
            "a?[2J?  y\n"
            "zwölf   z\n");
}

TEST(TextTable, RowsThatAreShortAreFilled) {
  EXPECT_EQ(text_table({"A", "B"}, {{"x"}}), "A  B\nx\n");
}

TEST(ServerUrl, IsTakenApart) {
  const auto plain = parse_server_url("http://example.com").value();
  EXPECT_EQ(plain.host, "example.com");
  EXPECT_EQ(plain.port, "80");
  EXPECT_EQ(plain.path, "");
  const auto whole = parse_server_url("http://[::1]:8080/base/").value();
  EXPECT_EQ(whole.host, "::1");
  EXPECT_EQ(whole.port, "8080");
  EXPECT_EQ(whole.path, "/base");
}

TEST(ServerUrl, OfHttpsHasItsOwnPort) {
  const auto url = parse_server_url("https://example.com/base").value();
  EXPECT_TRUE(url.tls);
  EXPECT_EQ(url.port, "443");
  EXPECT_EQ(parse_server_url("https://example.com:8443").value().port, "8443");
}

TEST(ServerUrl, WhatIsNoneIsRefused) {
  for (const char* url : {"", "example.com", "ftp://example.com", "http://", "https://",
                          "http://:80", "http://example.com:"}) {
    EXPECT_FALSE(parse_server_url(url)) << url;
  }
}

TEST(PercentEncoded, LeavesUnreservedCharactersOnly) {
  EXPECT_EQ(percent_encoded("a-Z_0.~"), "a-Z_0.~");
  EXPECT_EQ(percent_encoded("a/b c?\xC3\xA9"), "a%2Fb%20c%3F%C3%A9");
}

TEST(CellText, ListsAreJoinedAndNullIsADash) {
  EXPECT_EQ(cell_text({"a", 1, nullptr}), "a,1,-");
  EXPECT_EQ(time_text(nlohmann::ordered_json(0)), "1970-01-01 00:00");
  EXPECT_EQ(time_text(nlohmann::ordered_json(nullptr)), "-");
}

}  // namespace
}  // namespace tessera
