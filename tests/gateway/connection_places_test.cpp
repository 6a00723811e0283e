#include "gateway/http/connection_places.hpp"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(ConnectionPlaces, OneAddressLeavesRoomForOthers) {
  const auto places = std::make_shared<ConnectionPlaces>(4, 2);
  const auto first = places->enter("10.0.0.1");
  auto second = places->enter("10.0.0.1");
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(places->enter("10.0.0.1"));
  const auto other = places->enter("10.0.0.2");
  EXPECT_TRUE(other);
  second.reset();
  EXPECT_TRUE(places->enter("10.0.0.1"));
}

TEST(ConnectionPlaces, AllTogetherHaveALimitTooAndAProxyOnlyThat) {
  const auto places = std::make_shared<ConnectionPlaces>(3, 1);
  std::vector<std::unique_ptr<ConnectionPlaces::Place>> of_proxy;
  for (int i = 0; i < 3; ++i) {
    of_proxy.push_back(places->enter(""));
    EXPECT_TRUE(of_proxy.back());
  }
  EXPECT_FALSE(places->enter(""));
  EXPECT_FALSE(places->enter("10.0.0.1"));
  of_proxy.pop_back();
  EXPECT_TRUE(places->enter("10.0.0.1"));
}

TEST(ConnectionPlaces, APlaceOutlivesWhoeverGaveIt) {
  auto places = std::make_shared<ConnectionPlaces>(1, 1);
  auto place = places->enter("10.0.0.1");
  places.reset();
  place.reset();
}

}  // namespace
}  // namespace tessera
