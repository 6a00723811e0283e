#include <csignal>
#include <random>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/storage/store_crash.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

// The worker in a process of its own, with its output on a pipe.
class Worker {
 public:
  explicit Worker(const std::filesystem::path& directory) {
    int pipe[2];
    if (::pipe(pipe) != 0) throw std::runtime_error("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipe[0]);
    std::string program = TESSERA_CRASH_WORKER;
    std::string argument = directory.string();
    char* arguments[] = {program.data(), argument.data(), nullptr};
    const int failed =
        ::posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    if (failed != 0) throw std::runtime_error("cannot start " + program);
    output_ = ::fdopen(pipe[0], "r");
  }
  ~Worker() { std::fclose(output_); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The next batch the worker says is there, or nullopt when it has ended and said all.
  std::optional<int> acknowledged() {
    char line[32];
    if (std::fgets(line, sizeof line, output_) == nullptr) return std::nullopt;
    return std::stoi(line);
  }

  // Kills it wherever it is. True if that is what ended it.
  bool kill_now() {
    ::kill(process_, SIGKILL);
    int status = 0;
    ::waitpid(process_, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  pid_t process_ = 0;
  std::FILE* output_ = nullptr;
};

// Every family has exactly the values of the last kKept batches before `next`.
void expect_whole_batches(const Store& store, int next) {
  for (int f = 0; f < kNumFamilies; ++f) {
    const auto family = static_cast<Family>(f);
    int found = 0;
    const auto done = store.scan(family, "batch ", "", [&](auto, auto) { return ++found > 0; });
    ASSERT_TRUE(done);
    EXPECT_EQ(found, std::min(next, crash::kKept)) << "family " << f;
    for (int i = std::max(0, next - crash::kKept); i < next; ++i) {
      EXPECT_EQ(store.get(family, crash::key_of(i)).value(), crash::value_of(i, family));
    }
  }
}

TEST(RocksStoreCrash, KilledAtAnyInstantItHasEveryAcknowledgedBatchAndNoHalfOne) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const TempDir directory;
  int last = -1;
  for (int cycle = 0; cycle < 20; ++cycle) {
    Worker worker(directory / "db");
    for (auto wanted = random() % 60; wanted > 0; --wanted) {
      const auto batch = worker.acknowledged();
      ASSERT_TRUE(batch) << "the worker failed";
      ASSERT_EQ(*batch, last + 1);
      last = *batch;
    }
    ASSERT_TRUE(worker.kill_now());
    while (const auto batch = worker.acknowledged()) last = *batch;  // said before it was killed

    const auto store = open_rocks_store(directory / "db");
    ASSERT_TRUE(store) << store.error().message;
    const int next = crash::next_batch(**store);
    EXPECT_GE(next, last + 1) << "an acknowledged batch is lost";
    EXPECT_LE(next, last + 2) << "a batch that was never written is there";
    expect_whole_batches(**store, next);
    last = next - 1;
  }
  EXPECT_GT(last, 100);
}

}  // namespace
}  // namespace tessera
