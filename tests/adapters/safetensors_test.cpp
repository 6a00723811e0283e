#include "adapters/safetensors.hpp"

#include <cstring>
#include <functional>
#include <random>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using Bytes = std::vector<std::byte>;

Bytes file_of(std::string_view header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  Bytes file(sizeof length + header.size() + data_bytes);
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + sizeof length, header.data(), header.size());
  return file;
}

// The code with which a file is refused; "" if it is accepted.
std::string refusal(const Bytes& file, const SafetensorsLimits& limits = {}) {
  const auto parsed = parse_safetensors(file, limits);
  return parsed ? "" : std::string(to_string(parsed.error().code));
}
std::string refusal(std::string_view header, std::size_t data_bytes) {
  return refusal(file_of(header, data_bytes));
}

constexpr std::string_view kOne = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";

TEST(Safetensors, OneTensorIsFoundByNameWithItsBytes) {
  Bytes file = file_of(kOne, 24);
  file.back() = std::byte{9};
  const auto parsed = parse_safetensors(file);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const StoredTensor* tensor = parsed->find("a");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->dtype, Dtype::kF32);
  EXPECT_EQ(tensor->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(tensor->bytes.size(), 24U);
  EXPECT_EQ(tensor->bytes.data(), file.data() + file.size() - 24);
  EXPECT_EQ(parsed->find("b"), nullptr);
}

TEST(Safetensors, ScalarsAndEmptyTensorsAreLegal) {
  EXPECT_EQ(refusal(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
                       "e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}})",
                    4),
            "");
  EXPECT_EQ(refusal("{}", 0), "");
}

TEST(Safetensors, TensorsMayLieInAnotherOrderThanTheirNames) {
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},
                       "b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                    5),
            "");
}

TEST(Safetensors, MetadataIsKeptAndMustBeStrings) {
  const Bytes file = file_of(R"({"__metadata__":{"format":"pt"}})", 0);
  const auto parsed = parse_safetensors(file);
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->metadata.size(), 1U);
  EXPECT_EQ(parsed->metadata[0].first, "format");
  EXPECT_EQ(parsed->metadata[0].second, "pt");
  EXPECT_EQ(refusal(R"({"__metadata__":{"format":1}})", 0), "safetensors_bad_metadata");
  EXPECT_EQ(refusal(R"({"__metadata__":{"format":{}}})", 0), "safetensors_bad_metadata");
}

// One header for each rule; every rule has its own code.
struct BadHeader {
  std::string_view name;
  std::string_view header;
  std::size_t data_bytes;
  std::string_view code;
};

void PrintTo(const BadHeader& bad, std::ostream* out) {
  *out << bad.name;
}

class SafetensorsBadHeader : public testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsBadHeader, IsRefusedByItsCode) {
  const BadHeader& bad = GetParam();
  EXPECT_EQ(refusal(bad.header, bad.data_bytes), bad.code);
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, SafetensorsBadHeader,
    testing::Values(
        BadHeader{"NotJson", "{\"a\":", 0, "safetensors_header_invalid"},
        BadHeader{"NotAnObject", "[]", 0, "safetensors_header_invalid"},
        BadHeader{"LeadingSpace", " {}", 0, "safetensors_header_invalid"},
        BadHeader{"EntryIsANumber", "{\"a\":1}", 0, "safetensors_header_invalid"},
        BadHeader{"InvalidUtf8", "{\"\xff\":{}}", 0, "safetensors_header_invalid"},
        BadHeader{"NulAfterTheValue", std::string_view("{}\0x", 4), 0,
                  "safetensors_header_invalid"},
        BadHeader{"TwoValues", "{}{}", 0, "safetensors_header_invalid"},
        BadHeader{"TensorTwice",
                  R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                      "a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                  2, "safetensors_duplicate_key"},
        BadHeader{"FieldTwice", R"({"a":{"dtype":"U8","dtype":"U8"}})", 0,
                  "safetensors_duplicate_key"},
        BadHeader{"MetadataTwice", R"({"__metadata__":{},"__metadata__":{}})", 0,
                  "safetensors_duplicate_key"},
        BadHeader{"MetadataKeyTwice", R"({"__metadata__":{"k":"1","k":"2"}})", 0,
                  "safetensors_duplicate_key"},
        BadHeader{"UnknownField", R"({"a":{"dtype":"U8","strides":[1]}})", 0,
                  "safetensors_unknown_key"},
        BadHeader{"UnknownDtype", R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4,
                  "safetensors_bad_dtype"},
        BadHeader{"NoDtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4,
                  "safetensors_bad_dtype"},
        BadHeader{"DtypeIsAList", R"({"a":{"dtype":["U8"]}})", 0, "safetensors_bad_dtype"},
        BadHeader{"NegativeDimension", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})",
                  1, "safetensors_bad_shape"},
        BadHeader{"NegativeZero", R"({"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}})", 0,
                  "safetensors_bad_shape"},
        BadHeader{"DimensionIsAFloat", R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})",
                  1, "safetensors_bad_shape"},
        BadHeader{"DimensionHasAnExponent",
                  R"({"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}})", 1,
                  "safetensors_bad_shape"},
        BadHeader{"NestedShape", R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1,
                  "safetensors_bad_shape"},
        BadHeader{"NineDimensions",
                  R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
                  "safetensors_bad_shape"},
        BadHeader{"ThreeOffsets", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 2,
                  "safetensors_bad_offsets"},
        BadHeader{"OneOffset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1,
                  "safetensors_bad_offsets"},
        BadHeader{"OffsetsReversed", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1,
                  "safetensors_bad_offsets"},
        BadHeader{"OffsetIsAFloat", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}})", 1,
                  "safetensors_bad_offsets"},
        BadHeader{"OffsetBeyond64Bits",
                  R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551617]}})", 1,
                  "safetensors_bad_offsets"},
        BadHeader{"DimensionBeyond63Bits",
                  R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}})", 0,
                  "safetensors_overflow"},
        BadHeader{"SizeBeyond64Bits",
                  R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
                  0, "safetensors_overflow"},
        BadHeader{"OverflowHiddenByAZero",
                  R"({"a":{"dtype":"U8","shape":[4611686018427387904,4611686018427387904,0],
                      "data_offsets":[0,0]}})",
                  0, "safetensors_overflow"},
        BadHeader{"HalfAByte", R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", 1,
                  "safetensors_overflow"},
        BadHeader{"SizeMismatch", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,7]}})", 7,
                  "safetensors_size_mismatch"},
        BadHeader{"Overlap",
                  R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
                      "b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
                  5, "safetensors_overlap"},
        BadHeader{"Hole",
                  R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                      "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                  3, "safetensors_hole"},
        BadHeader{"HoleAtTheStart", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2,
                  "safetensors_hole"},
        BadHeader{"DataTooLong", kOne, 25, "safetensors_trailing_data"},
        BadHeader{"DataTooShort", kOne, 23, "safetensors_truncated"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Safetensors, LengthsThatLieAreRefusedBeforeAnythingIsRead) {
  EXPECT_EQ(refusal(Bytes()), "safetensors_truncated");
  EXPECT_EQ(refusal(Bytes(7)), "safetensors_truncated");
  Bytes beyond = file_of("{}", 0);
  beyond[0] = std::byte{200};
  EXPECT_EQ(refusal(beyond), "safetensors_truncated");
  Bytes huge = file_of("{}", 0);
  std::memset(huge.data(), 0xFF, 8);
  EXPECT_EQ(refusal(huge), "safetensors_header_too_large");
}

TEST(Safetensors, HeaderAndTensorLimitsAreParameters) {
  const Bytes file = file_of(kOne, 24);
  EXPECT_EQ(refusal(file, {.max_header_bytes = kOne.size()}), "");
  EXPECT_EQ(refusal(file, {.max_header_bytes = kOne.size() - 1}), "safetensors_header_too_large");
  EXPECT_EQ(refusal(file, {.max_tensors = 0}), "safetensors_too_many_tensors");
}

TEST(Safetensors, EveryDisguiseOfAPickleIsCalledByItsName) {
  for (const char protocol : {'\2', '\3', '\4', '\5'}) {
    Bytes file(300);
    const char magic[] = {'\x80', protocol, '}', 'q', '\0', '.', 'x', 'y'};
    std::memcpy(file.data(), magic, sizeof magic);
    EXPECT_EQ(refusal(file), "pickle_not_accepted") << int{protocol};
  }
  Bytes zip(300);
  std::memcpy(zip.data(), "PK\x03\x04\x14\0\x08\x08", 8);
  EXPECT_EQ(refusal(zip), "pickle_not_accepted");
  Bytes tar(512);
  std::memcpy(tar.data(), "pickle\0\1", 8);
  std::memcpy(tar.data() + 257, "ustar", 5);
  EXPECT_EQ(refusal(tar), "pickle_not_accepted");
}

TEST(Safetensors, AHeaderWhoseLengthLooksLikeAPickleIsStillAHeader) {
  std::string header(kOne);
  header.resize(0x280, ' ');  // the file begins with the bytes 80 02, as a pickle does
  EXPECT_EQ(refusal(header, 24), "");
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return random() % n; };
    std::vector<Bytes> data(below(6));
    std::vector<StoredTensor> tensors;
    for (std::size_t i = 0; i < data.size(); ++i) {
      StoredTensor tensor{.name = "t\"" + std::to_string(i),
                          .dtype = static_cast<Dtype>(static_cast<int>(Dtype::kU8) + below(16)),
                          .shape = {static_cast<std::int64_t>(below(5)), 3},
                          .bytes = {}};
      data[i].resize(static_cast<std::size_t>(tensor.shape[0]) * 3 *
                     static_cast<std::size_t>(dtype_bits(tensor.dtype)) / 8);
      for (std::byte& byte : data[i]) byte = static_cast<std::byte>(below(256));
      tensor.bytes = data[i];
      tensors.push_back(std::move(tensor));
    }
    const std::vector<std::pair<std::string, std::string>> metadata = {{"format", "pt"}};
    const Bytes file = write_safetensors(tensors, metadata);
    const auto parsed = parse_safetensors(file);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->metadata, metadata);
    ASSERT_EQ(parsed->tensors.size(), tensors.size());
    for (const StoredTensor& tensor : tensors) {
      const StoredTensor* found = parsed->find(tensor.name);
      ASSERT_NE(found, nullptr);
      EXPECT_EQ(found->dtype, tensor.dtype);
      EXPECT_EQ(found->shape, tensor.shape);
      EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes));
    }
  }
}

// Whatever is done to a file, the parser answers; and what it accepts lies inside the file.
TEST(Safetensors, MutatedFilesNeverLeadOutsideTheFile) {
  const Bytes original = file_of(R"({"__metadata__":{"format":"pt"},
      "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
      "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                                 32);
  ASSERT_EQ(refusal(original), "");
  constexpr std::string_view kInteresting = "0123456789{}[]\",:-.e \\\xff\x80";
  for (unsigned seed = 0; seed < 20'000; ++seed) {
    std::mt19937 random(seed);
    Bytes file = original;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      const std::size_t at = random() % file.size();
      file[at] = static_cast<std::byte>(kInteresting[random() % kInteresting.size()]);
    }
    if (random() % 4 == 0) file.resize(random() % file.size());
    const auto parsed = parse_safetensors(file);
    if (!parsed) continue;
    std::size_t covered = 0;
    for (const StoredTensor& tensor : parsed->tensors) {
      ASSERT_GE(tensor.bytes.data(), file.data()) << "seed " << seed;
      ASSERT_LE(tensor.bytes.data() + tensor.bytes.size(), file.data() + file.size());
      covered += tensor.bytes.size();
    }
    ASSERT_LE(covered, file.size()) << "seed " << seed;
  }
}

TEST(Safetensors, AHeaderOfManyTensorsTakesLinearTime) {
  std::string header = "{";
  constexpr int kTensors = 60'000;
  for (int i = 0; i < kTensors; ++i) {
    if (i > 0) header += ',';
    header += '"' + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  header += '}';
  const Bytes file = file_of(header, 0);
  const auto parsed = parse_safetensors(file);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->tensors.size(), std::size_t{kTensors});
}

}  // namespace
}  // namespace tessera
