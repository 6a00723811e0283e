#include "gateway/http/http.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(ParseTarget, SegmentsAreDecodedOneByOne) {
  const auto target = parse_target("/v1/models/a%2Fb%40c");
  ASSERT_TRUE(target);
  EXPECT_THAT(target->segments, ElementsAre("v1", "models", "a/b@c"));
}

TEST(ParseTarget, PlusIsASpaceInTheQueryOnly) {
  const auto target = parse_target("/a+b?c=d+e&group_by%5B%5D=x&flag&&=1");
  ASSERT_TRUE(target);
  EXPECT_THAT(target->segments, ElementsAre("a+b"));
  EXPECT_THAT(target->query, ElementsAre(Pair("c", "d e"), Pair("group_by[]", "x"),
                                         Pair("flag", ""), Pair("", "1")));
}

TEST(ParseTarget, RefusesBrokenEscapesAndControlBytes) {
  for (const char* target :
       {"", "v1", "*", "/%", "/%4", "/%zz", "/%00", "/%0a", "/%7f", "/a#b", "/a?b=%0d", "/a?%=1"}) {
    EXPECT_FALSE(parse_target(target)) << target;
  }
}

TEST(ParseTarget, EmptySegmentsAreKept) {
  EXPECT_THAT(parse_target("//a/")->segments, ElementsAre("", "a", ""));
}

TEST(Serialize, AnswerIsOneBufferWithItsLength) {
  const HttpResponse response{.status = 201, .headers = {{"X-A", "b"}}, .body = "hello"};
  EXPECT_EQ(serialize(response, {}),
            "HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello");
}

TEST(Serialize, HeadAnswerKeepsTheLengthAndLosesTheBody) {
  const HttpResponse response{.body = "hello"};
  EXPECT_EQ(serialize(response, {.keep_alive = false, .omit_body = true}),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
}

TEST(Serialize, StreamIsChunkedOnHttp11) {
  EXPECT_EQ(serialize_stream_head({}, {}), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(frame_piece("0123456789abcdef", {}), "10\r\n0123456789abcdef\r\n");
  EXPECT_EQ(frame_piece("", {}), "") << "an empty chunk would end the body";
  EXPECT_EQ(frame_end({}), "0\r\n\r\n");
}

TEST(Serialize, StreamIsBareOnHttp10) {
  const Framing framing{.http_1_0 = true, .keep_alive = false};
  EXPECT_EQ(serialize_stream_head({}, framing), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(frame_piece("abc", framing), "abc");
  EXPECT_EQ(frame_end(framing), "");
}

TEST(MediaType, IsLowerCaseWithoutParameters) {
  EXPECT_EQ(media_type("Application/JSON; charset=utf-8"), "application/json");
  EXPECT_EQ(media_type(""), "");
}

}  // namespace
}  // namespace tessera
