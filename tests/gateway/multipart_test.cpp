#include "gateway/http/multipart.hpp"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=XyZ";

std::string part(const std::string& disposition, const std::string& content) {
  return "--XyZ\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n";
}
const std::string kEnd = "--XyZ--\r\n";

Code code_of(std::string_view type, std::string_view body) {
  const auto parts = parse_multipart(type, body);
  return parts ? Code::kInternalError : parts.error().code;
}

TEST(Multipart, PartsAreViewsIntoTheBody) {
  const std::string body =
      part("name=\"a\"", "one") +
      "--XyZ\r\ncontent-disposition: form-data; name=b; filename=\"x \\\"y\\\".bin\"\r\n"
      "Content-Type: Application/Octet-Stream\r\n\r\n\r\n--Xy\r\n\r\n" +
      kEnd;
  const auto parts = parse_multipart(kType, body);
  ASSERT_TRUE(parts) << parts.error().message;
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ((*parts)[0].name, "a");
  EXPECT_EQ((*parts)[0].content, "one");
  EXPECT_EQ((*parts)[1].name, "b");
  EXPECT_EQ((*parts)[1].filename, "x \"y\".bin");
  EXPECT_EQ((*parts)[1].content_type, "application/octet-stream");
  EXPECT_EQ((*parts)[1].content, "\r\n--Xy\r\n") << "what only looks like the boundary is content";
  EXPECT_GE((*parts)[0].content.data(), body.data());
}

TEST(Multipart, EmptyContentAndAMissingLastLineBreakAreFine) {
  const auto parts = parse_multipart(kType, part("name=\"a\"", "") + "--XyZ--");
  ASSERT_TRUE(parts);
  EXPECT_EQ((*parts)[0].content, "");
}

TEST(Multipart, QuotedBoundary) {
  EXPECT_TRUE(parse_multipart("Multipart/Form-Data; charset=x; boundary=\"XyZ\"",
                              part("name=\"a\"", "b") + kEnd));
}

TEST(Multipart, OtherMediaTypesAreUnsupported) {
  for (const char* type :
       {"", "application/json", "multipart/mixed; boundary=XyZ", "multipart/form-data",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"XyZ"}) {
    EXPECT_EQ(code_of(type, part("name=\"a\"", "b") + kEnd), Code::kUnsupportedMediaType) << type;
  }
  const std::string long_boundary(kMaxBoundaryChars + 1, 'b');
  EXPECT_EQ(code_of("multipart/form-data; boundary=" + long_boundary, "x"),
            Code::kUnsupportedMediaType);
}

TEST(Multipart, MalformedBodiesAreRefused) {
  const std::string good = part("name=\"a\"", "b");
  for (const std::string& body : {
           std::string(),
           std::string("--XyZ"),
           std::string("preamble\r\n") + good + kEnd,
           good,
           good + "--XyZ",
           good + "--XyZ-",
           good + kEnd + "more",
           good + good + kEnd,
           part("filename=\"x\"", "b") + kEnd,
           part("name=\"\"", "b") + kEnd,
           part("name=\"a", "b") + kEnd,
           part("name=\"a\" x", "b") + kEnd,
           part("name", "b") + kEnd,
           std::string("--XyZ\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nb\r\n") + kEnd,
           std::string("--XyZ\r\nno colon\r\n\r\nb\r\n") + kEnd,
           std::string("--XyZ\r\n\r\nb\r\n") + kEnd,
           std::string("--XyZ\nContent-Disposition: form-data; name=\"a\"\n\nb\n") + kEnd,
       }) {
    EXPECT_EQ(code_of(kType, body), Code::kInvalidValue) << body;
  }
}

TEST(Multipart, TooManyPartsAreRefused) {
  std::string body;
  for (int i = 0; i <= kMaxMultipartParts; ++i)
    body += part("name=\"" + std::to_string(i) + '"', "");
  EXPECT_EQ(code_of(kType, body + kEnd), Code::kRequestExceedsLimit);
}

TEST(Multipart, AnEndlessPartHeadIsRefused) {
  const std::string name(kMaxPartHeadBytes, 'n');
  EXPECT_EQ(code_of(kType, part("name=\"" + name + '"', "b") + kEnd), Code::kInvalidValue);
}

// Whatever is done to a body, the answer is parts inside of it or an error.
TEST(Multipart, MutatedBodiesNeverReadOutsideTheBody) {
  constexpr std::uint32_t kSeed = 20260131;
  std::mt19937 random(kSeed);
  const std::string good =
      part("name=\"a\"", "one") + part("name=\"b\"; filename=\"c\"", "two\r\n--XyY\r\n") + kEnd;
  const std::string_view alphabet = "\r\n-\"\\;=:XyZ a\0";
  for (int round = 0; round < 20'000; ++round) {
    std::string body = good;
    for (int edits = static_cast<int>(random() % 4); edits >= 0; --edits) {
      const std::size_t at = random() % body.size();
      switch (random() % 4) {
        case 0:
          body[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          body.erase(at, random() % 8);
          break;
        case 2:
          body.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        default:
          body.resize(at + 1);
          break;
      }
      if (body.empty()) body = "-";
    }
    const auto parts = parse_multipart(kType, body);
    if (!parts) continue;
    for (const FormPart& found : *parts) {
      ASSERT_GE(found.content.data(), body.data()) << "seed " << kSeed << " round " << round;
      ASSERT_LE(found.content.data() + found.content.size(), body.data() + body.size());
      ASSERT_FALSE(found.name.empty());
    }
  }
}

}  // namespace
}  // namespace tessera
