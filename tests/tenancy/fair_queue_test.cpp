#include "tenancy/fair_queue.hpp"

#include <map>
#include <random>
#include <sstream>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/script.hpp"

namespace tessera {
namespace {

using Queue = FairQueue<std::string>;

// Runs `name argument ...` lines on a queue whose items are words; see scripts/fair_queue.txt.
class Interpreter {
 public:
  std::string run(const std::string& commands) {
    std::istringstream lines(commands);
    std::ostringstream out;
    for (std::string line; std::getline(lines, line);) run_line(line, out);
    return out.str();
  }

 private:
  void run_line(const std::string& line, std::ostream& out) {
    std::istringstream words(line);
    std::string command;
    std::string tenant;
    std::string item;
    words >> command >> tenant;
    if (command == "new") {
      queue_ = {};
    } else if (command == "push") {
      while (words >> item) queue_.push(tenant, item);
    } else if (command == "put_back") {
      words >> item;
      queue_.put_back(tenant, item);
    } else if (command == "finish") {
      queue_.finish(tenant);
    } else if (command == "charge") {
      int cost = 0;
      words >> cost;
      queue_.charge(tenant, cost);
    } else if (command == "pop") {
      out << queue_.pop().value_or("nothing") << '\n';
    } else if (command == "pop_without") {
      const std::string& unwanted = tenant;
      out << queue_.pop_if([&](const auto& it) { return !it.starts_with(unwanted); })
                 .value_or("nothing")
          << '\n';
    } else if (command == "remove") {
      for (const auto& removed : queue_.remove_if([&](const auto& it) { return it == tenant; })) {
        out << "removed " << removed << '\n';
      }
    } else if (command == "counter") {
      out << queue_.counter(tenant) << '\n';
    } else {
      out << "unknown command " << command << '\n';
    }
  }

  Queue queue_;
};

TEST(FairQueue, FollowsItsScript) {
  Interpreter interpreter;
  run_script(std::string(TESSERA_TEST_DIR) + "/scripts/fair_queue.txt",
             [&](const std::string& commands) { return interpreter.run(commands); });
}

// Ranks order a tenant's own items; whose turn it is stays what it was.
TEST(FairQueue, SmallerRanksGoFirstAmongATenantsOwn) {
  Queue queue;
  queue.push("a", "a flex", 1);
  queue.push("a", "a one");
  queue.push("b", "b one");
  queue.push("a", "a two");
  queue.push("a", "a priority", -1);
  std::vector<std::string> order;
  while (auto item = queue.pop()) {
    order.push_back(*item);
    queue.charge(item->substr(0, 1), 10);
    if (*item == "a one") queue.put_back("a", "a one again");
  }
  EXPECT_EQ(order.front(), "b one") << "it has waited longer than what came to the front";
  std::erase(order, "b one");
  EXPECT_EQ(order,
            (std::vector<std::string>{"a priority", "a one", "a one again", "a two", "a flex"}));
}

TEST(FairQueue, BackloggedTenantsGetEqualServiceWhateverTheySend) {
  FairQueue<std::pair<std::string, int>> queue;  // items are their tenants and costs
  std::map<std::string, int> queued = {{"flooder", 2000}, {"modest", 400}};
  std::mt19937 random(1);
  for (int i = 0; i < queued["flooder"]; ++i) {
    queue.push("flooder", {"flooder", static_cast<int>(1 + random() % 10)});
  }
  for (int i = 0; i < queued["modest"]; ++i) queue.push("modest", {"modest", 50});
  std::map<std::string, int> served;
  while (queued["modest"] > 0 && queued["flooder"] > 0) {
    const auto [tenant, cost] = queue.pop().value();
    --queued[tenant];
    queue.charge(tenant, cost);
    queue.finish(tenant);
    served[tenant] += cost;
    ASSERT_LE(std::abs(served["modest"] - served["flooder"]), 50);  // one largest item
  }
}

// The specification, with a search where the queue keeps an order.
class Model {
 public:
  void push(const std::string& tenant, int item) {
    if (is_idle()) tenants_.clear();
    auto& account = tenants_[tenant];
    if (!account.is_active() && !is_idle()) {
      account.counter = std::max(account.counter, least_active());
    }
    account.items.push_back({sequence_++, item});
  }

  std::optional<int> pop_odd_or_any(bool only_odd) {
    std::map<std::pair<std::int64_t, int>, Account*> order;
    for (auto& [tenant, account] : tenants_) {
      if (!account.items.empty()) {
        order[{account.counter, account.items.front().first}] = &account;
      }
    }
    for (auto& [rank, account] : order) {
      for (auto item = account->items.begin(); item != account->items.end(); ++item) {
        if (only_odd && item->second % 2 == 0) continue;
        const int value = item->second;
        account->items.erase(item);
        ++account->running;
        return value;
      }
    }
    return std::nullopt;
  }

  void finish(const std::string& tenant, std::int64_t cost) {
    tenants_[tenant].counter += cost;
    --tenants_[tenant].running;
  }

 private:
  struct Account {
    std::int64_t counter = 0;
    int running = 0;
    std::vector<std::pair<int, int>> items;  // sequence, item
    bool is_active() const { return running > 0 || !items.empty(); }
  };

  bool is_idle() const {
    return std::ranges::none_of(tenants_, [](const auto& t) { return t.second.is_active(); });
  }
  std::int64_t least_active() const {
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const auto& [tenant, account] : tenants_) {
      if (account.is_active()) least = std::min(least, account.counter);
    }
    return least;
  }

  std::map<std::string, Account> tenants_;
  int sequence_ = 1;
};

TEST(FairQueue, AgreesWithASearchThroughAllTenants) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  FairQueue<int> queue;
  Model model;
  std::map<int, std::string> owner;
  std::vector<std::string> running;
  for (int step = 0; step < 5000; ++step) {
    const auto choice = random() % 10;
    if (choice < 4) {
      const std::string tenant(1, static_cast<char>('a' + random() % 5));
      owner[step] = tenant;
      queue.push(tenant, step);
      model.push(tenant, step);
    } else if (choice < 7) {
      const bool only_odd = random() % 2 == 0;
      const auto got = queue.pop_if([&](int item) { return !only_odd || item % 2 == 1; });
      ASSERT_EQ(got, model.pop_odd_or_any(only_odd)) << "step " << step;
      if (got) running.push_back(owner[*got]);
    } else if (!running.empty()) {
      const auto chosen = running.begin() + static_cast<std::ptrdiff_t>(random() % running.size());
      const auto cost = static_cast<std::int64_t>(random() % 100);
      queue.charge(*chosen, cost);
      queue.finish(*chosen);
      model.finish(*chosen, cost);
      running.erase(chosen);
    }
  }
}

}  // namespace
}  // namespace tessera
