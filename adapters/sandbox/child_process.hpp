// child_process.hpp — a program of ours, run for one task with the descriptors it needs.
//
// The child is a fresh process image (posix_spawn of /proc/self/exe): it has none of the server's
// memory, so no keys and no other tenant's bytes, and none of its descriptors but those named here.
// (A zygote forked before the threads would start faster by some 20 ms; it would share one address
// layout among all children and keep what the server had read by then.)
//
// What it writes to its pipe is the stranger's as soon as it has read a stranger's bytes: length
// and time are bounded here, the form is its reader's to check.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

// Where the child finds the descriptors it was given, in their order; before them stands the pipe
// for its answer.
inline constexpr int kChildAnswerDescriptor = 3;
inline constexpr int kChildFirstDescriptor = 4;

struct ChildTask {
  std::filesystem::path program;       // "/proc/self/exe"
  std::vector<std::string> arguments;  // behind the program's name
  std::vector<int> descriptors;        // ours; become kChildFirstDescriptor, ...
  std::chrono::milliseconds deadline;  // from its start to its end
  std::size_t max_answer_bytes;
};

struct ChildEnd {
  enum class How { kExited, kSignalled, kTimedOut, kAnsweredTooMuch };

  How how = How::kExited;
  int status = 0;      // of the exit, or the signal's number
  std::string answer;  // all that it wrote, up to max_answer_bytes
};

// "it was killed by signal 11 (Segmentation fault)"
std::string describe(const ChildEnd& end);

// Runs the child to its end, which is the deadline at the latest. The calling thread waits; if its
// process dies, so does the child. Errors: kIo if there can be no child.
Result<ChildEnd> run_child(const ChildTask& task);

// In the child, first of all: asks to die with the parent. False if the parent is gone already.
bool die_with_parent(int parent_pid);

}  // namespace tessera
