#include "gateway/http/multipart.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=XyZ";

std::string part(const std::string& disposition, const std::string& content) {
  return "--XyZ\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n";
}
const std::string kEnd = "--XyZ--\r\n";

struct Part {
  PartHead head;
  std::string content;
  bool ended = false;
};

// Keeps what it is told, and checks that it is told in order.
class Collector final : public PartVisitor {
 public:
  Result<void> begin_part(PartHead head) override {
    EXPECT_TRUE(parts.empty() || parts.back().ended);
    parts.push_back({std::move(head), ""});
    return {};
  }
  Result<void> part_content(std::string_view bytes) override {
    EXPECT_FALSE(parts.back().ended);
    EXPECT_FALSE(bytes.empty());
    parts.back().content.append(bytes);
    longest_piece = std::max(longest_piece, bytes.size());
    return {};
  }
  Result<void> end_part() override {
    parts.back().ended = true;
    return {};
  }

  std::vector<Part> parts;
  std::size_t longest_piece = 0;
};

// The parts of a body that arrives in pieces of `piece` bytes.
Result<std::vector<Part>> read(std::string_view type, std::string_view body,
                               std::size_t piece = std::string::npos) {
  auto reader = MultipartReader::make(type);
  if (!reader) return reader.error();
  Collector collector;
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at)) {
    if (auto fed = reader->feed(body.substr(at, piece), collector); !fed) return fed.error();
  }
  if (auto finished = reader->finish(); !finished) return finished.error();
  return collector.parts;
}

Code code_of(std::string_view type, std::string_view body, std::size_t piece = std::string::npos) {
  const auto parts = read(type, body, piece);
  return parts ? Code::kInternalError : parts.error().code;
}

TEST(Multipart, PartsAreWhatWasSentHoweverItIsCut) {
  const std::string body =
      part("name=\"a\"", "one") +
      "--XyZ\r\ncontent-disposition: form-data; name=b; filename=\"x \\\"y\\\".bin\"\r\n"
      "Content-Type: Application/Octet-Stream\r\n\r\n\r\n--Xy\r\n\r\n" +
      kEnd;
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    const auto parts = read(kType, body, piece);
    ASSERT_TRUE(parts) << parts.error().message;
    ASSERT_EQ(parts->size(), 2U);
    EXPECT_EQ((*parts)[0].head.name, "a");
    EXPECT_EQ((*parts)[0].content, "one");
    EXPECT_EQ((*parts)[1].head.name, "b");
    EXPECT_EQ((*parts)[1].head.filename, "x \"y\".bin");
    EXPECT_EQ((*parts)[1].head.content_type, "application/octet-stream");
    EXPECT_EQ((*parts)[1].content, "\r\n--Xy\r\n") << "what only looks like the boundary";
    EXPECT_TRUE((*parts)[1].ended);
  }
}

TEST(Multipart, ContentIsPassedOnBeforeItsEnd) {
  auto reader = MultipartReader::make(kType).value();
  Collector collector;
  ASSERT_TRUE(reader.feed("--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n", collector));
  const std::string piece(100'000, 'x');
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(reader.feed(piece, collector));
  ASSERT_EQ(collector.parts.size(), 1U);
  EXPECT_FALSE(collector.parts[0].ended);
  EXPECT_GE(collector.parts[0].content.size() + kMaxBoundaryChars, 10 * piece.size());
  EXPECT_LE(collector.longest_piece, piece.size() + kMaxBoundaryChars) << "nothing is hoarded";
}

TEST(Multipart, EmptyContentAndAMissingLastLineBreakAreFine) {
  const auto parts = read(kType, part("name=\"a\"", "") + "--XyZ--");
  ASSERT_TRUE(parts);
  EXPECT_EQ((*parts)[0].content, "");
}

TEST(Multipart, QuotedBoundary) {
  EXPECT_TRUE(
      read("Multipart/Form-Data; charset=x; boundary=\"XyZ\"", part("name=\"a\"", "b") + kEnd));
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

TEST(Multipart, MalformedBodiesAreRefusedHoweverTheyAreCut) {
  const std::string good = part("name=\"a\"", "b");
  for (const std::string& body : {
           std::string(),
           std::string("--XyZ"),
           std::string("preamble\r\n") + good + kEnd,
           good,
           good + "--XyZ",
           good + "--XyZ-",
           good + kEnd + "more",
           good + "--XyZ--\r",
           good + "--XyZ--x",
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
    for (const std::size_t piece : {std::string::npos, std::size_t{1}, std::size_t{7}}) {
      EXPECT_EQ(code_of(kType, body, piece), Code::kInvalidValue) << body;
    }
  }
}

TEST(Multipart, TooManyPartsAreRefused) {
  std::string body;
  for (int i = 0; i <= kMaxMultipartParts; ++i)
    body += part("name=\"" + std::to_string(i) + '"', "");
  EXPECT_EQ(code_of(kType, body + kEnd), Code::kRequestExceedsLimit);
}

TEST(Multipart, AnEndlessPartHeadIsRefusedWhenItIsTooLong) {
  auto reader = MultipartReader::make(kType).value();
  Collector collector;
  ASSERT_TRUE(reader.feed("--XyZ\r\n", collector));
  std::size_t fed = 0;
  while (reader.feed("nnnnnnnnnn", collector)) {
    fed += 10;
    ASSERT_LE(fed, kMaxPartHeadBytes);
  }
  EXPECT_FALSE(reader.feed("n", collector)) << "and nothing more is taken";
}

// A visitor that wants no more ends the reading.
class Refuser final : public PartVisitor {
 public:
  explicit Refuser(int at) : at_(at) {}
  Result<void> begin_part(PartHead) override { return refuse(0); }
  Result<void> part_content(std::string_view) override { return refuse(1); }
  Result<void> end_part() override { return refuse(2); }

 private:
  Result<void> refuse(int what) const {
    if (what != at_) return {};
    return Error{Code::kStorageFull, "full"};
  }
  int at_;
};

TEST(Multipart, VisitorsErrorIsTheReaders) {
  for (const int at : {0, 1, 2}) {
    auto reader = MultipartReader::make(kType).value();
    Refuser refuser(at);
    const auto fed = reader.feed(part("name=\"a\"", "b") + kEnd, refuser);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, Code::kStorageFull);
    EXPECT_FALSE(reader.finish());
  }
}

// Whatever is done to a body, one byte at a time says what all at once says.
TEST(Multipart, MutatedBodiesAreReadAlikeHoweverTheyAreCut) {
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
    const auto whole = read(kType, body);
    const auto cut = read(kType, body, 1 + random() % 5);
    ASSERT_EQ(whole.has_value(), cut.has_value()) << "seed " << kSeed << " round " << round;
    if (!whole) {
      ASSERT_EQ(whole.error().code, cut.error().code) << "seed " << kSeed << " round " << round;
      continue;
    }
    ASSERT_EQ(whole->size(), cut->size()) << "seed " << kSeed << " round " << round;
    for (std::size_t i = 0; i < whole->size(); ++i) {
      ASSERT_EQ((*whole)[i].head.name, (*cut)[i].head.name);
      ASSERT_EQ((*whole)[i].content, (*cut)[i].content);
      ASSERT_FALSE((*whole)[i].head.name.empty());
    }
  }
}

}  // namespace
}  // namespace tessera
