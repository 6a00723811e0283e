#include "gateway/http/header_guard.hpp"

#include <ostream>
#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::string_literals;  // heads may hold NUL

constexpr std::size_t kLimit = 1024;

// Runs both halves of the guard over the bytes of a connection.
Result<std::size_t> guard(std::string_view bytes) {
  HeaderGuard guard(kLimit);
  const auto size = guard.find_head(bytes);
  if (!size) return size.error();
  if (!*size) return std::size_t{0};
  if (auto checked = check_head(bytes.substr(0, **size)); !checked) return checked.error();
  return **size;
}

struct Case {
  const char* name;
  std::string bytes;
};
void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}
std::string name_of(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

class Refused : public testing::TestWithParam<Case> {};

TEST_P(Refused, IsAnInvalidRequest) {
  const auto result = guard(GetParam().bytes);
  ASSERT_FALSE(result) << "taken as a head of " << *result << " bytes";
  EXPECT_EQ(result.error().code, Code::kInvalidValue) << result.error().message;
}

std::string post(const std::string& fields) {
  return "POST /v1/models HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
std::string post_1_0(const std::string& fields) {
  return "POST /v1/models HTTP/1.0\r\nHost: a\r\n" + fields + "\r\n";
}
std::string get_line(const std::string& line) {
  return line + "\r\nHost: a\r\n\r\n";
}

const Case kFraming[] = {
    {"CodingGzip", post("Transfer-Encoding: gzip\r\n")},
    {"CodingChunkedIdentity", post("Transfer-Encoding: chunked, identity\r\n")},
    {"CodingIdentityChunked", post("Transfer-Encoding: identity, chunked\r\n")},
    {"CodingIdentity", post("Transfer-Encoding: identity\r\n")},
    {"CodingIdentityAndLength", post("Transfer-Encoding: identity\r\nContent-Length: 3\r\n")},
    {"CodingEmpty", post("Transfer-Encoding: \r\n")},
    {"CodingInCapitals", post("Transfer-Encoding: CHUNKED\r\n")},
    {"CodingQuoted", post("Transfer-Encoding: \"chunked\"\r\n")},
    {"CodingWithParameter", post("Transfer-Encoding: chunked;a=b\r\n")},
    {"CodingXChunked", post("Transfer-Encoding: xchunked\r\n")},
    {"CodingAfterVerticalTab", post("Transfer-Encoding: \x0b"
                                    "chunked\r\n")},
    {"CodingTwice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
    {"CodingTwiceOneHidden", post("Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n")},
    {"CodingBeforeLength", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")},
    {"CodingAfterLength", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")},
    {"CodingOnHttp10", post_1_0("Transfer-Encoding: chunked\r\n")},
    {"CodingWithSpaceBeforeColon", post("Transfer-Encoding : chunked\r\n")},
    {"CodingFolded", post("Transfer-Encoding:\r\n chunked\r\n")},
    {"LengthTwiceEqual", post("Content-Length: 5\r\nContent-Length: 5\r\n")},
    {"LengthTwiceDifferent", post("Content-Length: 5\r\nContent-Length: 6\r\n")},
    {"LengthList", post("Content-Length: 5, 5\r\n")},
    {"LengthNegative", post("Content-Length: -1\r\n")},
    {"LengthSigned", post("Content-Length: +5\r\n")},
    {"LengthHex", post("Content-Length: 0x5\r\n")},
    {"LengthEmpty", post("Content-Length:\r\n")},
    {"LengthBeyond64Bits", post("Content-Length: 18446744073709551616\r\n")},
    {"LengthWithSpaceInside", post("Content-Length: 1 2\r\n")},
    {"LengthWithSpaceBeforeColon", post("Content-Length : 5\r\n")},
};
INSTANTIATE_TEST_SUITE_P(Framing, Refused, testing::ValuesIn(kFraming), name_of);

const Case kLines[] = {
    {"FoldedBySpace", post("X-A: b\r\n c\r\n")},
    {"FoldedByTab", post("X-A: b\r\n\tc\r\n")},
    {"FoldedFirstField", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
    {"NulInValue", post("X-A: b\0c\r\n"s)},
    {"NulInName", post("X\0A: b\r\n"s)},
    {"ControlByteInValue", post("X-A: b\x01\r\n")},
    {"DeleteByteInValue", post("X-A: b\x7f\r\n")},
    {"EscapeInValue", post("X-A: \x1b[31m\r\n")},
    {"BareLineFeedInValue", post("X-A: b\nX-B: c\r\n")},
    {"BareCarriageReturnInValue", post("X-A: b\rX-B: c\r\n")},
    {"BareLineFeedsOnly", "GET / HTTP/1.1\nHost: a\n\n"},
    {"CarriageReturnTwice", post("X-A: b\r\r\n")},
    {"NoColon", post("X-A b\r\n")},
    {"EmptyName", post(": b\r\n")},
    {"SpaceInName", post("X A: b\r\n")},
    {"SpaceBeforeColon", post("X-A : b\r\n")},
    {"NonAsciiName", post("X-\xc3\xa4: b\r\n")},
    {"ParenthesisInName", post("X(A): b\r\n")},
    {"HostTwice", post("Host: a\r\n")},
    {"HostTwiceInCapitals", post("HOST: b\r\n")},
    {"HostMissing", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n"},
    {"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {"HostWithUser", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
    {"HostList", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Lines, Refused, testing::ValuesIn(kLines), name_of);

const Case kRequestLines[] = {
    {"Empty", "\r\n\r\n"},
    {"NoVersion", get_line("GET /")},
    {"TwoSpaces", get_line("GET  / HTTP/1.1")},
    {"SpaceInTarget", get_line("GET /a b HTTP/1.1")},
    {"TrailingSpace", get_line("GET / HTTP/1.1 ")},
    {"LeadingSpace", get_line(" GET / HTTP/1.1")},
    {"LeadingEmptyLine", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"TabAsSeparator", get_line("GET\t/\tHTTP/1.1")},
    {"AbsoluteTarget", get_line("GET http://a/ HTTP/1.1")},
    {"AuthorityTarget", get_line("CONNECT a:80 HTTP/1.1")},
    {"NonAsciiTarget", get_line("GET /\xc3\xa4 HTTP/1.1")},
    {"Http09", get_line("GET / HTTP/0.9")},
    {"Http12", get_line("GET / HTTP/1.2")},
    {"Http2", get_line("GET / HTTP/2.0")},
    {"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {"LowerCaseVersion", get_line("GET / http/1.1")},
    {"MethodWithColon", get_line("GE:T / HTTP/1.1")},
    {"TlsClientHello", "\x16\x03\x01\x02\x01"s},
};
INSTANTIATE_TEST_SUITE_P(RequestLines, Refused, testing::ValuesIn(kRequestLines), name_of);

class Accepted : public testing::TestWithParam<Case> {};

TEST_P(Accepted, IsTakenWhole) {
  const std::string head = GetParam().bytes;
  const auto result = guard(head + "body of the request");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(*result, head.size());
}

const Case kGood[] = {
    {"Plain", get_line("GET /v1/models?limit=2 HTTP/1.1")},
    {"Http10WithoutHost", "GET / HTTP/1.0\r\n\r\n"},
    {"Length", post("Content-Length: 5\r\n")},
    {"LengthWithTabs", post("Content-Length:\t5\t\r\n")},
    {"Chunked", post("Transfer-Encoding: chunked\r\n")},
    {"ChunkedWithoutSpace", post("transfer-encoding:chunked\r\n")},
    {"Utf8Value", post("X-A: \xc3\xa4\r\n")},
    {"TabInValue", post("X-A: b\tc\r\n")},
    {"EmptyValue", post("X-A:\r\n")},
    {"Ipv6Host", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Good, Accepted, testing::ValuesIn(kGood), name_of);

TEST(HeaderGuard, FindsTheSameEndHoweverTheBytesArrive) {
  const std::string bytes = post("X-A: b\r\n") + "rest";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    HeaderGuard guard(kLimit);
    std::optional<std::size_t> end;
    for (std::size_t size = step; !end && size <= bytes.size() + step; size += step) {
      end = guard.find_head(std::string_view(bytes).substr(0, size)).value();
    }
    EXPECT_EQ(end, bytes.size() - 4) << "in steps of " << step;
  }
}

TEST(HeaderGuard, RefusesABadByteBeforeTheHeadIsComplete) {
  HeaderGuard guard(kLimit);
  ASSERT_TRUE(guard.find_head("GET / HT"));
  EXPECT_FALSE(guard.find_head("GET / HT\nTP"));
}

TEST(HeaderGuard, HeadBeyondTheLimitIsTooLargeWithoutItsEnd) {
  HeaderGuard guard(kLimit);
  const auto result = guard.find_head("GET / HTTP/1.1\r\nX: " + std::string(kLimit, 'a'));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kHeaderTooLarge);
}

TEST(HeaderGuard, TooManyFieldsAreTooLarge) {
  std::string fields;
  for (int i = 0; i < 101; ++i) fields += "X: y\r\n";
  const auto result = check_head(post(fields));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kHeaderTooLarge);
}

}  // namespace
}  // namespace tessera
