#include "gateway/admin/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Histogram, BucketsAreCumulativeAndEndInInfinity) {
  Histogram histogram;
  histogram.observe(1ms);  // on a bound: counted in its bucket
  histogram.observe(30ms);
  histogram.observe(5min);
  std::string text;
  histogram.write(text, "x_seconds", "m=\"a\"");
  EXPECT_THAT(text, HasSubstr("x_seconds_bucket{m=\"a\",le=\"0.001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("x_seconds_bucket{m=\"a\",le=\"0.02\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("x_seconds_bucket{m=\"a\",le=\"0.04\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("x_seconds_bucket{m=\"a\",le=\"60\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("x_seconds_bucket{m=\"a\",le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("x_seconds_sum{m=\"a\"} 300.031"));
  EXPECT_THAT(text, HasSubstr("x_seconds_count{m=\"a\"} 3\n"));
}

}  // namespace
}  // namespace tessera
