#include "storage/disposal.hpp"

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

// Tells which thread destroyed it, after `may_end`.
struct Tattler {
  std::promise<std::thread::id>& told;
  std::shared_future<void> may_end;

  ~Tattler() {
    may_end.wait();
    told.set_value(std::this_thread::get_id());
  }
};

std::shared_future<void> at_once() {
  std::promise<void> done;
  done.set_value();
  return done.get_future().share();
}

TEST(Disposal, TheLastOwnerDoesNotWait) {
  std::promise<std::thread::id> told;
  std::promise<void> may_end;
  dispose_later(std::shared_ptr<const void>(new Tattler{told, may_end.get_future().share()}));
  auto by = told.get_future();
  EXPECT_EQ(by.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  may_end.set_value();
  EXPECT_NE(by.get(), std::this_thread::get_id());
}

TEST(Disposal, WhatOthersOwnLives) {
  std::promise<std::thread::id> told;
  auto object = std::make_shared<Tattler>(told, at_once());
  dispose_later(object);
  std::promise<std::thread::id> behind_it;
  dispose_later(std::shared_ptr<const void>(new Tattler{behind_it, at_once()}));
  behind_it.get_future().get();
  EXPECT_EQ(object.use_count(), 1);
  object.reset();
  EXPECT_EQ(told.get_future().get(), std::this_thread::get_id());
}

TEST(Disposal, WhereManyWaitTheCallerDestroysIt) {
  std::promise<void> may_end;
  const std::shared_future<void> held = may_end.get_future().share();
  std::vector<std::promise<std::thread::id>> told(kMostDisposals + 2);
  std::vector<std::future<std::thread::id>> by;
  for (auto& one : told) by.push_back(one.get_future());
  // One may be in the thread's hands already; the last is one too many in any case.
  for (std::size_t i = 0; i < told.size(); ++i) {
    dispose_later(
        std::shared_ptr<const void>(new Tattler{told[i], i + 1 < told.size() ? held : at_once()}));
    if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(by.back().get(), std::this_thread::get_id());
  may_end.set_value();
  for (std::size_t i = 0; i + 1 < by.size(); ++i) by[i].wait();
}

}  // namespace
}  // namespace tessera
