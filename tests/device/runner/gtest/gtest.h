// gtest.h — as much of GoogleTest's interface as the tests of kernels use, for machines that have a
// GPU and no GoogleTest. A source compiles against either: this folder is on the include path of
// tests/device alone.
//
//   PROGRAM [--filter=PART[:PART...]] [--list]
//
// runs the tests whose name, Suite.Name, has one of the parts in it, or is what follows a part's =.
// The last line is counts; the exit status is 0 if none failed.
#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace testing {

class Test {
 public:
  virtual ~Test() = default;
  virtual void SetUp() {}
  virtual void TearDown() {}
  virtual void TestBody() = 0;
  static void RecordProperty(const std::string&, const std::string&) {}
};

namespace runner {

struct Case {
  std::string name;
  std::function<Test*()> make;
};
std::vector<Case>& cases();
int run_all(const std::string& filter, bool only_list);
bool add(const char* suite, const char* name, std::function<Test*()> make);

// Of the test that runs.
void fail(const char* file, int line, const std::string& what);
void skip(const std::string& why);
std::vector<std::string>& traces();

struct Trace {
  explicit Trace(std::string what) { traces().push_back(std::move(what)); }
  ~Trace() { traces().pop_back(); }
};

// What a failed check was told with <<; reports when it ends.
class Report {
 public:
  Report(const char* file, int line, std::string what)
      : file_(file), line_(line), what_(std::move(what)) {}
  // The operator's precedence lets the macro return after the message was put together.
  void operator&=(const std::ostream& message) const {
    fail(file_, line_, what_ + " " + static_cast<const std::ostringstream&>(message).str());
  }

 private:
  const char* file_;
  int line_;
  std::string what_;
};
struct Skip {
  void operator&=(const std::ostream& message) const {
    skip(static_cast<const std::ostringstream&>(message).str());
  }
};

template <class T>
std::string shown(const T& value) {
  if constexpr (requires(std::ostream & out) { out << value; }) {
    std::ostringstream out;
    out.precision(9);
    out << value;
    return out.str();
  } else {
    return "(a value)";
  }
}

template <class A, class B, class Compare>
std::string compare(const char* text, const A& a, const B& b, const Compare& holds) {
  if (holds(a, b)) return "";
  return std::string(text) + ": " + shown(a) + " and " + shown(b);
}

}  // namespace runner

inline std::ostringstream& message() {
  static thread_local std::ostringstream stream;
  stream.str("");
  return stream;
}

}  // namespace testing

#define TESSERA_RUNNER_TEST(suite, name, base)                                      \
  class suite##_##name##_Test : public base {                                       \
    void TestBody() override;                                                       \
  };                                                                                \
  static const bool suite##_##name##_added = testing::runner::add(                  \
      #suite, #name, []() -> testing::Test* { return new suite##_##name##_Test; }); \
  void suite##_##name##_Test::TestBody()
#define TEST(suite, name) TESSERA_RUNNER_TEST(suite, name, testing::Test)
#define TEST_F(suite, name) TESSERA_RUNNER_TEST(suite, name, suite)

#define TESSERA_RUNNER_JOIN2(a, b) a##b
#define TESSERA_RUNNER_JOIN(a, b) TESSERA_RUNNER_JOIN2(a, b)
#define SCOPED_TRACE(what) const testing::runner::Trace TESSERA_RUNNER_JOIN(trace_, __LINE__)(what)

// `text` is empty if the check holds; on_failure is empty or `return`.
#define TESSERA_RUNNER_CHECK(text, on_failure)                       \
  if (const std::string runner_text = (text); runner_text.empty()) { \
  } else                                                             \
    on_failure testing::runner::Report(__FILE__, __LINE__, runner_text) &= testing::message()

#define TESSERA_RUNNER_COMPARE(a, b, op, on_failure)                                 \
  TESSERA_RUNNER_CHECK(                                                              \
      testing::runner::compare(#a " " #op " " #b, a, b,                              \
                               [](const auto& x, const auto& y) { return x op y; }), \
      on_failure)
#define EXPECT_EQ(a, b) TESSERA_RUNNER_COMPARE(a, b, ==, )
#define EXPECT_NE(a, b) TESSERA_RUNNER_COMPARE(a, b, !=, )
#define EXPECT_LT(a, b) TESSERA_RUNNER_COMPARE(a, b, <, )
#define EXPECT_LE(a, b) TESSERA_RUNNER_COMPARE(a, b, <=, )
#define EXPECT_GT(a, b) TESSERA_RUNNER_COMPARE(a, b, >, )
#define EXPECT_GE(a, b) TESSERA_RUNNER_COMPARE(a, b, >=, )
#define ASSERT_EQ(a, b) TESSERA_RUNNER_COMPARE(a, b, ==, return )
#define ASSERT_NE(a, b) TESSERA_RUNNER_COMPARE(a, b, !=, return )
#define ASSERT_LT(a, b) TESSERA_RUNNER_COMPARE(a, b, <, return )
#define ASSERT_LE(a, b) TESSERA_RUNNER_COMPARE(a, b, <=, return )
#define ASSERT_GT(a, b) TESSERA_RUNNER_COMPARE(a, b, >, return )
#define ASSERT_GE(a, b) TESSERA_RUNNER_COMPARE(a, b, >=, return )

#define TESSERA_RUNNER_TRUE(condition, wanted, on_failure) \
  TESSERA_RUNNER_CHECK(static_cast<bool>(condition) == (wanted) ? "" : #condition, on_failure)
#define EXPECT_TRUE(condition) TESSERA_RUNNER_TRUE(condition, true, )
#define EXPECT_FALSE(condition) TESSERA_RUNNER_TRUE(condition, false, )
#define ASSERT_TRUE(condition) TESSERA_RUNNER_TRUE(condition, true, return )
#define ASSERT_FALSE(condition) TESSERA_RUNNER_TRUE(condition, false, return )

#define TESSERA_RUNNER_NEAR(a, b, tolerance, on_failure)                                 \
  TESSERA_RUNNER_CHECK(testing::runner::compare(#a " near " #b, a, b,                    \
                                                [&](const auto& x, const auto& y) {      \
                                                  return std::abs(x - y) <= (tolerance); \
                                                }),                                      \
                       on_failure)
#define EXPECT_NEAR(a, b, tolerance) TESSERA_RUNNER_NEAR(a, b, tolerance, )
#define ASSERT_NEAR(a, b, tolerance) TESSERA_RUNNER_NEAR(a, b, tolerance, return )

#define FAIL() return testing::runner::Report(__FILE__, __LINE__, "failed") &= testing::message()
#define ADD_FAILURE() testing::runner::Report(__FILE__, __LINE__, "failed") &= testing::message()
#define GTEST_SKIP() return testing::runner::Skip() &= testing::message()
