// What a parser that was taken over might try, for the tests of what stops it.
#include "adapters/sandbox/misbehaviour.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/sandbox/child_process.hpp"

namespace tessera {
namespace {

void write_where_nothing_is() {
  void* const page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED) *static_cast<volatile char*>(page) = 'x';
}

void read_beyond_the_end(int descriptor) {
  const off_t size = ::lseek(descriptor, 0, SEEK_END);
  const auto beyond = static_cast<std::size_t>(size) + (std::size_t{1} << 20);
  void* const address = ::mmap(nullptr, beyond, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return;
  const volatile char* const bytes = static_cast<const char*>(address);
  [[maybe_unused]] const char byte = bytes[beyond - 1];
}

void eat_memory() {
  constexpr std::size_t kBlock = std::size_t{64} << 20;
  for (std::vector<std::vector<char>> blocks;;) blocks.emplace_back(kBlock, 'x');
}

[[noreturn]] void spin() {
  for (std::atomic<std::uint64_t> turns = 0;;) ++turns;
}

void write_answer(const std::string& text, int times) {
  for (int i = 0; i < times; ++i) {
    [[maybe_unused]] const auto written = ::write(kChildAnswerDescriptor, text.data(), text.size());
  }
}

}  // namespace

void misbehave(Misbehaviour kind, int descriptor) {
  switch (kind) {
    case Misbehaviour::kNone:
      return;
    case Misbehaviour::kSegfault:
      return write_where_nothing_is();
    case Misbehaviour::kTruncatedFile:
      return read_beyond_the_end(descriptor);
    case Misbehaviour::kEndlessLoop:
      spin();
    case Misbehaviour::kEatMemory:
      return eat_memory();
    case Misbehaviour::kOpenFile:  // by the old call too: the library uses openat
      if (::syscall(SYS_open, "/etc/passwd", O_RDONLY) >= 0) write_answer("read", 1);
      return;
    case Misbehaviour::kOpenSocket:
      if (::socket(AF_INET, SOCK_STREAM, 0) >= 0) write_answer("connected", 1);
      return;
    case Misbehaviour::kExec:
      ::execl("/bin/true", "true", nullptr);
      return;
    case Misbehaviour::kFork:
      if (::syscall(SYS_fork) >= 0) write_answer("forked", 1);
      return;
    case Misbehaviour::kLongAnswer:
      return write_answer(std::string(std::size_t{1} << 20, ' '), 64);
    case Misbehaviour::kWrongAnswer:
      write_answer(R"({"report":{},"facts":null,"too_large":false})", 1);
      ::_exit(0);
    case Misbehaviour::kSilence:
      ::close(kChildAnswerDescriptor);
      spin();
  }
}

}  // namespace tessera
