// What the Rust reference said of hostile headers (threat 23; make_safetensors_verdicts.py). What
// it refuses is refused here; what it accepts is read as it reads it, or refused for a rule that is
// stricter here, by that rule's code.
#include <cstring>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"

namespace tessera {
namespace {

using Json = nlohmann::json;

Json verdicts() {
  std::ifstream file(std::string(TESSERA_TEST_DIR) + "/data/safetensors_verdicts.json");
  return Json::parse(file);
}

// Characters of the JSON text are bytes of the header.
std::string bytes_of(const std::string& utf8) {
  std::string bytes;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0x80) {
      bytes.push_back(utf8[i]);
    } else {
      bytes.push_back(static_cast<char>((lead & 0x03) << 6 | (utf8[++i] & 0x3F)));
    }
  }
  return bytes;
}

std::vector<std::byte> file_of(const Json& test) {
  const std::string header = bytes_of(test.at(0));
  const auto data_bytes = test.at(1).get<std::size_t>();
  const std::uint64_t length = header.size();
  std::vector<std::byte> file(sizeof length + header.size() + data_bytes);
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + sizeof length, header.data(), header.size());
  for (std::size_t i = 0; i < data_bytes; ++i)
    file[8 + header.size() + i] = static_cast<std::byte>(i);
  return file;
}

Json shown(const SafetensorsFile& file) {
  Json tensors = Json::array();
  for (const StoredTensor& tensor : file.tensors) {
    const int first = tensor.bytes.empty() ? 0 : static_cast<int>(tensor.bytes.front());
    tensors.push_back(
        {tensor.name, dtype_name(tensor.dtype), tensor.shape, first, tensor.bytes.size()});
  }
  return tensors;
}

TEST(SafetensorsDifferential23, NothingIsAcceptedThatTheReferenceRefusesNorReadInAnotherWay) {
  const Json tests = verdicts();
  ASSERT_GE(tests.size(), 500U);
  std::map<std::string, int> stricter;
  int both_accept = 0;
  for (const Json& test : tests) {
    SCOPED_TRACE(test.dump());
    const auto file = file_of(test);
    const auto parsed = parse_safetensors(file);
    const Json& reference = test.at(2);
    if (reference.is_null()) {
      EXPECT_FALSE(parsed) << "the reference refuses it";
    } else if (parsed) {
      ++both_accept;
      EXPECT_EQ(shown(*parsed), reference);
    } else {
      ++stricter[std::string(to_string(parsed.error().code))];
    }
  }
  EXPECT_GT(both_accept, 100);
  for (const auto& [code, count] : stricter) {
    const bool is_known = code == "safetensors_unknown_key" || code == "safetensors_duplicate_key";
    EXPECT_TRUE(is_known) << code << " refuses " << count << " that the reference accepts";
  }
}

}  // namespace
}  // namespace tessera
