#include "gateway/http/trace_context.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kParent = "00f067aa0ba902b7";

std::optional<TraceContext> trace(const std::string& value) {
  return trace_of({{"traceparent", value}});
}

TEST(TraceContext, GoesOnUnderASpanOfOurs) {
  const auto read = trace("00-" + kTrace + "-" + kParent + "-01");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->trace_id, kTrace);
  EXPECT_EQ(read->parent_id, kParent);
  EXPECT_TRUE(read->sampled);
  EXPECT_EQ(read->span_id.size(), 16U);
  EXPECT_NE(read->span_id, kParent);
  EXPECT_EQ(traceparent(*read), "00-" + kTrace + "-" + read->span_id + "-01");
  EXPECT_TRUE(trace_of({{"traceparent", traceparent(*read)}}));
}

TEST(TraceContext, EachRequestHasASpanOfItsOwn) {
  const std::string value = "00-" + kTrace + "-" + kParent + "-00";
  EXPECT_NE(trace(value)->span_id, trace(value)->span_id);
  EXPECT_FALSE(trace(value)->sampled);
}

TEST(TraceContext, OfFlagsOnlyTheOneThatIsKnownGoesOn) {
  const auto read = trace("00-" + kTrace + "-" + kParent + "-fe");
  ASSERT_TRUE(read);
  EXPECT_TRUE(traceparent(*read).ends_with("-00"));
}

TEST(TraceContext, LaterVersionsAreReadAsFarAsTheyAreKnown) {
  EXPECT_TRUE(trace("01-" + kTrace + "-" + kParent + "-01"));
  EXPECT_TRUE(trace("cc-" + kTrace + "-" + kParent + "-01-what-the-future-brings"));
  EXPECT_FALSE(trace("cc-" + kTrace + "-" + kParent + "-01.what"));
}

TEST(TraceContext, WhatIsMalformedIsNone) {
  EXPECT_FALSE(trace_of({}));
  for (const std::string& value :
       {std::string(), std::string("00"), "00-" + kTrace + "-" + kParent,
        "00-" + kTrace + "-" + kParent + "-01-more", "ff-" + kTrace + "-" + kParent + "-01",
        "00-" + std::string(32, '0') + "-" + kParent + "-01",
        "00-" + kTrace + "-" + std::string(16, '0') + "-01",
        "00-" + kTrace.substr(1) + "G-" + kParent + "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kParent + "-01",
        "00_" + kTrace + "-" + kParent + "-01", "0x-" + kTrace + "-" + kParent + "-01"}) {
    EXPECT_FALSE(trace(value)) << value;
  }
}

TEST(TraceContext, TwoOfThemAreNone) {
  const std::string value = "00-" + kTrace + "-" + kParent + "-01";
  EXPECT_FALSE(trace_of({{"traceparent", value}, {"traceparent", value}}));
}

}  // namespace
}  // namespace tessera
