// fair_queue.hpp — whose turn it is, counted by tenant and not by request.
//
// Virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", 2024): every
// tenant has a counter of the service it has got; the next item is taken from the backlogged tenant
// with the smallest one, so a tenant that asks a hundred times more is served no more than its
// share while others wait, and everything while nobody does.
//
// Idling earns no credit: a tenant that becomes active again (it had nothing queued and nothing
// running) is lifted to the smallest counter of the active ones, those that are only running too.
// Nor does it pay: the counter is kept while anyone is active. When nobody is, all begin anew.
//
// Among a tenant's own items those of a smaller rank come first, whoever came first. That is no
// other tenant's business: whose turn it is does not depend on ranks.
//
// Deterministic: equal counters are decided by whose first item has waited longest. Not
// thread-safe; owned by the engine thread.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace tessera {

template <class Item>
class FairQueue {
 public:
  // Adds an item behind the tenant's others of its rank.
  void push(const std::string& tenant, Item item, int rank = 0) {
    edit(activated(tenant), [&](Account& account) {
      const auto behind = std::ranges::upper_bound(account.items, rank, {}, &Queued::rank);
      account.items.insert(behind, {next_sequence_++, rank, std::move(item)});
    });
    ++size_;
  }

  // Puts a popped item back before the tenant's others, as after preemption; it runs no longer.
  void put_back(const std::string& tenant, Item item) {
    edit(accounts_.at(tenant), [&](Account& account) {
      assert(account.running > 0);
      --account.running;
      account.items.push_front({next_front_sequence_--, kFirst, std::move(item)});
    });
    ++size_;
  }

  // Takes the next item in fair order; its tenant has one more running until finish().
  std::optional<Item> pop() {
    return pop_if([](const Item&) { return true; });
  }

  // Takes the first item in fair order for which `may_run(item)`: tenants by counter, the items of
  // one tenant in order. One that may not run now keeps its place and blocks nobody.
  template <class MayRun>
  std::optional<Item> pop_if(MayRun may_run) {
    for (Account* account : backlogged_) {
      const auto found = std::ranges::find_if(
          account->items, [&](const Queued& queued) { return may_run(queued.item); });
      if (found != account->items.end()) return take(*account, found);
    }
    return std::nullopt;
  }

  // One of the tenant's popped items runs no longer.
  void finish(const std::string& tenant) {
    edit(accounts_.at(tenant), [](Account& account) {
      assert(account.running > 0);
      --account.running;
    });
  }

  // The tenant has got service worth `cost` >= 0 (tokens, weighted as the scheduler likes).
  void charge(const std::string& tenant, std::int64_t cost) {
    assert(cost >= 0);
    edit(accounts_.at(tenant), [&](Account& account) { account.counter += cost; });
  }

  // Takes out every queued item for which `goes(item)`, such as those whose client has left.
  template <class Goes>
  std::vector<Item> remove_if(Goes goes) {
    std::vector<Item> removed;
    for (auto& [tenant, account] : accounts_) {
      edit(account, [&](Account& edited) {
        const auto kept = std::stable_partition(edited.items.begin(), edited.items.end(),
                                                [&](Queued& queued) { return !goes(queued.item); });
        for (auto queued = kept; queued != edited.items.end(); ++queued) {
          removed.push_back(std::move(queued->item));
        }
        edited.items.erase(kept, edited.items.end());
      });
    }
    size_ -= removed.size();
    return removed;
  }

  std::size_t size() const { return size_; }  // queued, not those running
  bool empty() const { return size_ == 0; }

  // Service got so far; 0 for a tenant that is not known. For tests.
  std::int64_t counter(const std::string& tenant) const {
    const auto found = accounts_.find(tenant);
    return found == accounts_.end() ? 0 : found->second.counter;
  }

 private:
  static constexpr int kFirst = std::numeric_limits<int>::min();

  struct Queued {
    std::int64_t sequence;
    int rank;
    Item item;
  };
  struct Account {
    std::int64_t counter = 0;
    int running = 0;
    std::deque<Queued> items;

    bool is_active() const { return running > 0 || !items.empty(); }
  };
  // Smallest counter first, then the longest wait; the address only keeps equal ones apart.
  struct InFairOrder {
    static auto rank(const Account* account) {
      const std::int64_t first = account->items.empty() ? 0 : account->items.front().sequence;
      return std::tuple(account->counter, first, account);
    }
    bool operator()(const Account* a, const Account* b) const { return rank(a) < rank(b); }
  };
  using Order = std::set<Account*, InFairOrder>;

  // Every change of an account goes through here, because its place in both orders depends on it.
  template <class Change>
  void edit(Account& account, Change change) {
    auto active = active_.extract(&account);
    auto backlogged = backlogged_.extract(&account);
    change(account);
    if (account.is_active()) place(account, active_, std::move(active));
    if (!account.items.empty()) place(account, backlogged_, std::move(backlogged));
  }

  // A node that was taken out is used again, so that charging at every step does not allocate.
  static void place(Account& account, Order& order, typename Order::node_type node) {
    if (node.empty()) {
      order.insert(&account);
    } else {
      order.insert(std::move(node));
    }
  }

  // The account of a tenant that is about to become active, if it is not already.
  Account& activated(const std::string& tenant) {
    if (active_.empty()) accounts_.clear();
    Account& account = accounts_[tenant];
    if (!account.is_active() && !active_.empty()) {
      account.counter = std::max(account.counter, (*active_.begin())->counter);
    }
    return account;
  }

  Item take(Account& account, typename std::deque<Queued>::iterator queued) {
    std::optional<Item> item;
    edit(account, [&](Account& edited) {
      item = std::move(queued->item);
      edited.items.erase(queued);
      ++edited.running;
    });
    --size_;
    return std::move(*item);
  }

  std::map<std::string, Account> accounts_;  // node-based: accounts do not move
  Order active_;                             // queued or running
  Order backlogged_;                         // queued
  std::size_t size_ = 0;
  std::int64_t next_sequence_ = 1;
  std::int64_t next_front_sequence_ = -1;
};

}  // namespace tessera
