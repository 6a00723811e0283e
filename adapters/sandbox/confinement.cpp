#include "adapters/sandbox/confinement.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace tessera {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(TESSERA_SANITIZED)
#define TESSERA_UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESSERA_UNDER_SANITIZER 1
#endif
#endif

#ifdef TESSERA_UNDER_SANITIZER
constexpr bool kUnderSanitizer = true;  // with terabytes of address space, and pipes
#else
constexpr bool kUnderSanitizer = false;
#endif

Error refused(const std::string& what) {
  return {Code::kIo,
          "The system refuses to confine a process: " + what + ": " + std::strerror(errno) + "."};
}

bool limit_to(int resource, std::uint64_t value) {
  const rlimit limit{.rlim_cur = value, .rlim_max = value};
  return setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
}

Result<void> limit_resources(const ConfinementLimits& limits) {
  const bool done =
      limit_to(RLIMIT_CPU, limits.cpu_seconds) && limit_to(RLIMIT_FSIZE, limits.file_bytes) &&
      limit_to(RLIMIT_CORE, 0) && limit_to(RLIMIT_NPROC, 0) &&
      (kUnderSanitizer ||
       (limit_to(RLIMIT_NOFILE, 0) && limit_to(RLIMIT_AS, limits.address_space_bytes)));
  if (!done) return refused("setrlimit");
  return {};
}

void change_user() {
  constexpr unsigned kNobody = 65534;
  if (geteuid() != 0 || setgroups(0, nullptr) != 0) return;
  if (setresgid(kNobody, kNobody, kNobody) != 0) return;
  [[maybe_unused]] const int done = setresuid(kNobody, kNobody, kNobody);
}

// Where root is not allowed to change its user (some containers), the filter below is what holds.
// A change of the user makes the kernel forget that the process is to die with its parent.
void become_nobody() {
  int signal_of_parent = 0;
  prctl(PR_GET_PDEATHSIG, &signal_of_parent, 0, 0, 0);
  change_user();
  if (signal_of_parent != 0) prctl(PR_SET_PDEATHSIG, signal_of_parent, 0, 0, 0);
}

using Filter = std::unique_ptr<void, void (*)(void*)>;

bool allow(void* filter, std::span<const int> calls) {
  return std::ranges::all_of(
      calls, [filter](int call) { return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0; });
}

// What a program does that computes on memory and on files that are open already.
bool allow_plain_calls(void* filter) {
  constexpr std::array kCalls = {SCMP_SYS(read),
                                 SCMP_SYS(write),
                                 SCMP_SYS(pread64),
                                 SCMP_SYS(pwrite64),
                                 SCMP_SYS(readv),
                                 SCMP_SYS(writev),
                                 SCMP_SYS(lseek),
                                 SCMP_SYS(ftruncate),
                                 SCMP_SYS(fstat),
                                 SCMP_SYS(close),
                                 SCMP_SYS(munmap),
                                 SCMP_SYS(mremap),
                                 SCMP_SYS(brk),
                                 SCMP_SYS(madvise),
                                 SCMP_SYS(futex),
                                 SCMP_SYS(clock_gettime),
                                 SCMP_SYS(gettimeofday),
                                 SCMP_SYS(getrandom),
                                 SCMP_SYS(rt_sigprocmask),
                                 SCMP_SYS(rt_sigreturn),
                                 SCMP_SYS(sched_yield),
                                 SCMP_SYS(exit),
                                 SCMP_SYS(exit_group),
                                 SCMP_SYS(fallocate)};
  return allow(filter, kCalls);
}

// In a build with a sanitizer only: around exceptions, and to see whether memory is there.
bool allow_sanitizer_calls(void* filter) {
  constexpr std::array kCalls = {SCMP_SYS(sigaltstack), SCMP_SYS(pipe2), SCMP_SYS(getpid),
                                 SCMP_SYS(gettid)};
  return !kUnderSanitizer || allow(filter, kCalls);
}

// Memory, but none that can be executed: who asks for that is told no, since PCRE2 asks, and goes
// on without its compiler.
bool allow_data_memory(void* filter) {
  constexpr std::uint32_t kNo = SCMP_ACT_ERRNO(EACCES);
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    // The third argument, what of it is looked at, and what that is to be. (SCMP_A2 is C alone.)
    const scmp_arg_cmp without_exec{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    const scmp_arg_cmp with_exec{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC};
    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, without_exec) != 0) return false;
    if (seccomp_rule_add(filter, kNo, call, 1, with_exec) != 0) return false;
  }
  return true;
}

// glibc asks for a file's status by an empty path beside its descriptor; other paths are not to be
// told from it here, so what is answered is that the call does not exist.
bool answer_status_calls(void* filter) {
  for (const int call : {SCMP_SYS(newfstatat), SCMP_SYS(sched_getaffinity), SCMP_SYS(readlink),
                         SCMP_SYS(openat), SCMP_SYS(sysinfo), SCMP_SYS(prctl), SCMP_SYS(ioctl)}) {
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) != 0) return false;
  }
  return true;
}

Result<void> filter_calls() {
  const Filter filter(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release);
  if (!filter) return refused("seccomp_init");
  if (!allow_plain_calls(filter.get()) || !allow_sanitizer_calls(filter.get()) ||
      !allow_data_memory(filter.get()) || !answer_status_calls(filter.get())) {
    return refused("seccomp_rule_add");
  }
  const int status = seccomp_load(filter.get());
  if (status == 0) return {};
  errno = -status;
  return refused("seccomp");
}

}  // namespace

Result<void> confine(const ConfinementLimits& limits) {
  constexpr int kLowestPriority = 19;
  setpriority(PRIO_PROCESS, 0, kLowestPriority);
  if (auto limited = limit_resources(limits); !limited) return limited.error();
  become_nobody();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("no_new_privs");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return refused("dumpable");
  return filter_calls();
}

}  // namespace tessera
