#include "storage/json_writer.hpp"

#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

TEST(JsonWriter, SetsCommasAndNothingElse) {
  std::string out = "data: ";
  JsonWriter json(out);
  json.begin_object();
  json.member("a", "text");
  json.member("b", std::int64_t{-7});
  json.null_member("c");
  json.key("d");
  json.begin_array();
  json.end_array();
  json.key("e");
  json.begin_array();
  json.number(std::numeric_limits<std::int64_t>::min());
  json.begin_object();
  json.end_object();
  json.text("[1,2]");
  json.string("");
  json.end_array();
  json.key("f");
  json.begin_object();
  json.member("g", "");
  json.end_object();
  json.null_member("h");
  json.end_object();
  EXPECT_EQ(out,
            R"(data: {"a":"text","b":-7,"c":null,"d":[],"e":[-9223372036854775808,{},[1,2],""],)"
            R"("f":{"g":""},"h":null})");
}

TEST(JsonWriter, StringsComeBackAsTheyWere) {
  for (const std::string& text :
       {std::string("plain"), std::string("quote \" and \\"), std::string("line\nend\t"),
        std::string("\0nul", 4), std::string("Zürich 東京 🙂"), std::string("\x7F")}) {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.member(text, text);
    json.end_object();
    const auto read = nlohmann::ordered_json::parse(out);
    EXPECT_EQ(read.begin().key(), text) << out;
    EXPECT_EQ(read.begin().value(), text) << out;
  }
}

TEST(JsonWriter, WhatIsNoUtf8IsReplaced) {
  std::string out;
  JsonWriter(out).string("a\xFF");
  EXPECT_EQ(nlohmann::ordered_json::parse(out), "a\uFFFD");
}

}  // namespace
}  // namespace tessera
