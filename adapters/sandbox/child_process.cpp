#include "adapters/sandbox/child_process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

Error failed(const std::string& what, int error) {
  return {Code::kIo, "A process for validation cannot be started: " + what + ": " +
                         std::strerror(error) + "."};
}

class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }

  int get() const { return value_; }
  void reset() {
    if (value_ >= 0) ::close(std::exchange(value_, -1));
  }

 private:
  int value_;
};

// A copy above all numbers that the child uses, so that placing one never overwrites another.
Descriptor copy_out_of_the_way(int descriptor) {
  constexpr int kAbove = 64;
  return Descriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, kAbove));
}

// The lists that posix_spawn works through, freed in the end.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // Nothing on 0 to 2 but /dev/null, then the answer's pipe, then the others; all else closed.
  int place(const Descriptor& answer, const std::vector<Descriptor>& others) {
    int error = 0;
    for (int standard = 0; standard <= 2 && error == 0; ++standard) {
      error = posix_spawn_file_actions_addopen(&actions_, standard, "/dev/null", O_RDWR, 0);
    }
    int next = kChildAnswerDescriptor;
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions_, answer.get(), next++);
    for (const Descriptor& descriptor : others) {
      if (error != 0) return error;
      error = posix_spawn_file_actions_adddup2(&actions_, descriptor.get(), next++);
    }
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions_, next);
    return error;
  }

  // The signals of a process that has set none.
  int reset_signals() {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    return posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }

  Result<pid_t> spawn(const std::filesystem::path& program, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program.string());
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    // Nothing of ours; large blocks of memory in large pages, which are had with fewer faults.
    std::string large_pages = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";
    std::array<char*, 2> environment = {large_pages.data(), nullptr};
    pid_t child = 0;
    const int error = posix_spawn(&child, program.c_str(), &actions_, &attributes_, pointers.data(),
                                  environment.data());
    if (error != 0) return failed(program.string(), error);
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

struct Started {
  pid_t child;
  Descriptor answer;
};

Result<Started> start(const ChildTask& task) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("pipe", errno);
  Descriptor ours(ends[0]);
  const Descriptor theirs_below(ends[1]);
  const Descriptor theirs = copy_out_of_the_way(ends[1]);
  std::vector<Descriptor> others;
  for (const int descriptor : task.descriptors) {
    others.push_back(copy_out_of_the_way(descriptor));
    if (others.back().get() < 0) return failed("descriptors", errno);
  }
  if (theirs.get() < 0) return failed("descriptors", errno);
  SpawnPlan plan;
  if (const int error = plan.place(theirs, others); error != 0) return failed("plan", error);
  if (const int error = plan.reset_signals(); error != 0) return failed("signals", error);
  const auto child = plan.spawn(task.program, task.arguments);
  if (!child) return child.error();
  return Started{.child = *child, .answer = std::move(ours)};
}

// What the child writes until it closes the pipe; says whether it kept to time and length.
ChildEnd::How read_answer(const Descriptor& answer, const ChildTask& task, Clock::time_point end,
                          std::string& text) {
  std::array<char, 16 * 1024> buffer;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return ChildEnd::How::kTimedOut;
    pollfd news{.fd = answer.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&news, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (ready <= 0) continue;  // the clock decides
    const ssize_t size = ::read(answer.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return ChildEnd::How::kExited;
    if (text.size() + static_cast<std::size_t>(size) > task.max_answer_bytes) {
      return ChildEnd::How::kAnsweredTooMuch;
    }
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

int reap(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// For one that has closed its pipe: it does so by ending, unless it is no longer our program that
// runs there. Nothing if it lives on.
std::optional<int> reap_soon(pid_t child) {
  constexpr int kTries = 1000;
  int status = 0;
  for (int i = 0; i < kTries; ++i) {
    if (::waitpid(child, &status, WNOHANG) == child) return status;
    ::usleep(1000);
  }
  return std::nullopt;
}

}  // namespace

std::string describe(const ChildEnd& end) {
  switch (end.how) {
    case ChildEnd::How::kTimedOut:
      return "it took too long";
    case ChildEnd::How::kAnsweredTooMuch:
      return "it answered at too great length";
    case ChildEnd::How::kSignalled:
      return "it was killed by signal " + std::to_string(end.status) + " (" +
             strsignal(end.status) + ")";
    case ChildEnd::How::kExited:
      break;
  }
  return "it exited with status " + std::to_string(end.status);
}

Result<ChildEnd> run_child(const ChildTask& task) {
  const Clock::time_point deadline = Clock::now() + task.deadline;
  auto started = start(task);
  if (!started) return started.error();
  ChildEnd end;
  end.how = read_answer(started->answer, task, deadline, end.answer);
  std::optional<int> status;
  if (end.how == ChildEnd::How::kExited) status = reap_soon(started->child);
  if (!status) {
    if (end.how == ChildEnd::How::kExited) end.how = ChildEnd::How::kTimedOut;
    ::kill(started->child, SIGKILL);
    reap(started->child);
  } else if (WIFSIGNALED(*status)) {
    end.how = ChildEnd::How::kSignalled;
    end.status = WTERMSIG(*status);
  } else {
    end.status = WEXITSTATUS(*status);
  }
  return end;
}

bool die_with_parent(int parent_pid) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  return ::getppid() == parent_pid;
}

}  // namespace tessera
