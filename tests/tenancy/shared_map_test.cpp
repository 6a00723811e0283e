#include "tenancy/shared_map.hpp"

#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

std::map<int, std::string> contents(const SharedMap<int, std::string>& map) {
  std::map<int, std::string> all;
  map.each([&](int key, const std::string& value) {
    all[key] = value;
    return true;
  });
  return all;
}

TEST(SharedMap, CopiesKeepWhatTheyHad) {
  constexpr int kSeed = 20261121;
  std::mt19937 random(kSeed);
  SharedMap<int, std::string> map;
  std::map<int, std::string> expected;
  std::vector<std::pair<SharedMap<int, std::string>, std::map<int, std::string>>> copies;
  for (int step = 0; step < 3000; ++step) {
    const int key = static_cast<int>(random() % 500);
    if (random() % 4 == 0) {
      map.erase(key);
      expected.erase(key);
    } else {
      map.put(key, std::to_string(step));
      expected[key] = std::to_string(step);
    }
    if (step % 300 == 0) copies.emplace_back(map, expected);
  }
  EXPECT_EQ(contents(map), expected) << "seed " << kSeed;
  for (const auto& [copy, then] : copies) EXPECT_EQ(contents(copy), then);
  for (int key = 0; key < 500; ++key) {
    const auto* found = map.find(key);
    ASSERT_EQ(found != nullptr, expected.contains(key)) << key;
    if (found) {
      EXPECT_EQ(**found, expected[key]);
    }
  }
}

TEST(SharedMap, EachStopsWhenTold) {
  SharedMap<int, std::string> map;
  for (int key = 0; key < 10; ++key) map.put(key, "");
  int visited = 0;
  map.each([&](int, const std::string&) { return ++visited < 3; });
  EXPECT_EQ(visited, 3);
}

}  // namespace
}  // namespace tessera
