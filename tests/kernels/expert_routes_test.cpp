#include "kernels/cpu/expert_routes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/activation_rows.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

ModelSpec spec_of(int num_experts, int per_token, bool normalise = false) {
  ModelSpec spec;
  spec.num_experts = num_experts;
  spec.experts_per_token = per_token;
  spec.normalise_expert_weights = normalise;
  return spec;
}

std::vector<int> experts_of(const ExpertRoutes& routes, int row) {
  std::vector<int> experts;
  for (const ExpertRoute& route : routes.of_row(row)) experts.push_back(route.expert);
  return experts;
}

void route_at_random(Random& random, int num_experts, int num_rows, ExpertRoutes& routes) {
  for (int row = 0; row < num_rows; ++row) {
    std::vector<float> logits = normal_values(random, static_cast<std::size_t>(num_experts), 1.0F);
    routes.choose(row, logits);
  }
  routes.group(num_rows);
}

TEST(ExpertRoutes, AreTheLargestInAscendingOrderWithTheirSoftmaxWeights) {
  ExpertRoutes routes(spec_of(4, 2), 1);
  std::vector<float> logits = {std::log(1.0F), std::log(5.0F), std::log(2.0F), std::log(8.0F)};
  routes.choose(0, logits);
  EXPECT_EQ(experts_of(routes, 0), (std::vector<int>{1, 3}));
  EXPECT_NEAR(routes.of_row(0)[0].weight, 5.0F / 16.0F, 1e-6F);
  EXPECT_NEAR(routes.of_row(0)[1].weight, 8.0F / 16.0F, 1e-6F);
}

TEST(ExpertRoutes, WeightsAreScaledToOneIfTheModelSaysSo) {
  ExpertRoutes routes(spec_of(3, 2, true), 1);
  std::vector<float> logits = {std::log(1.0F), std::log(3.0F), std::log(4.0F)};
  routes.choose(0, logits);
  EXPECT_NEAR(routes.of_row(0)[0].weight, 3.0F / 7.0F, 1e-6F);
  EXPECT_NEAR(routes.of_row(0)[1].weight, 4.0F / 7.0F, 1e-6F);
}

TEST(ExpertRoutes, TiesGoToTheLowerIndex) {
  ExpertRoutes routes(spec_of(5, 3), 1);
  std::vector<float> logits = {0.0F, 1.0F, 0.0F, 1.0F, 0.0F};
  routes.choose(0, logits);
  EXPECT_EQ(experts_of(routes, 0), (std::vector<int>{0, 1, 3}));
}

TEST(ExpertRoutes, LogitsThatAreNotFiniteStillNameDifferentExpertsAndTheirWeightsAreNotNumbers) {
  for (const float broken : {std::nanf(""), INFINITY}) {
    ExpertRoutes routes(spec_of(4, 3, true), 1);
    std::vector<float> logits = {0.0F, broken, 1.0F, 2.0F};
    routes.choose(0, logits);
    auto experts = experts_of(routes, 0);
    EXPECT_TRUE(std::adjacent_find(experts.begin(), experts.end()) == experts.end());
    for (const ExpertRoute& route : routes.of_row(0)) {
      EXPECT_TRUE(route.expert >= 0 && route.expert < 4);
      EXPECT_TRUE(std::isnan(route.weight)) << broken;
    }
  }
}

TEST(ExpertRoutes, EveryRouteHasAPlaceOfItsOwnInItsExpertsGroup) {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int num_experts = uniform(random, 1, 40);
    const int per_token = uniform(random, 1, std::min(8, num_experts));
    ExpertRoutes routes(spec_of(num_experts, per_token), 70);
    const int num_rows = uniform(random, 1, 70);
    route_at_random(random, num_experts, num_rows, routes);
    std::vector<int> taken(static_cast<std::size_t>(routes.max_places()));
    for (int row = 0; row < num_rows; ++row) {
      for (const ExpertRoute& route : routes.of_row(row)) {
        ++taken.at(static_cast<std::size_t>(route.place));
        const auto group = std::ranges::find(routes.groups(), route.expert, &ExpertGroup::expert);
        ASSERT_NE(group, routes.groups().end());
        EXPECT_GE(route.place, group->first);
        EXPECT_LT(route.place, group->first + group->rows);
      }
    }
    EXPECT_LE(*std::max_element(taken.begin(), taken.end()), 1);
    int total = 0;
    for (const ExpertGroup& group : routes.groups()) {
      EXPECT_EQ(group.first % kRowsTogether, 0);
      total += group.rows;
    }
    EXPECT_EQ(total, num_rows * per_token);
  }
}

// Every column of every group is dealt once, and no thread has a column and a half more than its
// part.
TEST(ExpertRoutes, SharesCoverAllColumnsOnceAndCostTheSame) {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int num_experts = uniform(random, 1, 40);
    ExpertRoutes routes(spec_of(num_experts, 1), 200);
    route_at_random(random, num_experts, uniform(random, 1, 200), routes);
    const int count = uniform(random, 1, 60);
    const int num_threads = uniform(random, 1, 9);
    std::vector<std::vector<int>> dealt(static_cast<std::size_t>(num_experts));
    std::vector<double> costs;
    double largest = 0.0;
    for (int thread = 0; thread < num_threads; ++thread) {
      double& cost = costs.emplace_back(0.0);
      routes.for_each_share(count, thread, num_threads, [&](const ExpertGroup& group, Range mine) {
        for (int i = mine.begin; i < mine.end; ++i) {
          dealt[static_cast<std::size_t>(group.expert)].push_back(i);
        }
        cost += (mine.end - mine.begin) * (group.rows + 4.0);
        largest = std::max(largest, group.rows + 4.0);
      });
    }
    std::vector<int> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    for (const ExpertGroup& group : routes.groups()) {
      EXPECT_EQ(dealt[static_cast<std::size_t>(group.expert)], all);
    }
    const double mean = std::accumulate(costs.begin(), costs.end(), 0.0) / num_threads;
    EXPECT_LE(*std::max_element(costs.begin(), costs.end()), mean + 1.5 * largest);
  }
}

}  // namespace
}  // namespace tessera
