#include "storage/background.hpp"

#include <cstdint>

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tessera {
namespace {

// As sched_setattr(2) takes it; glibc has no name for it before 2.41.
struct SchedulerAttributes {
  std::uint32_t size = sizeof(SchedulerAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;  // of SCHED_OTHER: the slice
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};

constexpr int kTenthNice = 10;
constexpr int kLastNice = 19;
constexpr std::uint64_t kSliceNs = 100'000;  // the least that Linux takes

}  // namespace

void step_back(Behind how) {
  const int nice = how == Behind::kTenth ? kTenthNice : kLastNice;
  const SchedulerAttributes wanted{.nice = nice, .runtime_ns = kSliceNs};
  // Where it is refused, by a sandbox perhaps, the work is done as before.
  (void)syscall(SYS_sched_setattr, 0, &wanted, 0U);
}

void let_wakers_go_on() {
  // As above where it is refused. A batch thread preempts nobody when it wakes (sched(7)).
  const sched_param none{};
  (void)sched_setscheduler(0, SCHED_BATCH, &none);
}

}  // namespace tessera
