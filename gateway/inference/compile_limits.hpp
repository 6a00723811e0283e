// compile_limits.hpp — how much of the server's time a tenant's new constraints may take.
//
// A constraint that is in the cache costs nothing. Compiling one costs its tenant the time that it
// took: usual schemas (a fifth of a millisecond) are never refused, and who sends hostile ones gets
// kCompileShare of one thread of low priority in the long run. What a compilation will take is not
// known before, so it may begin as long as the tenant has used less than kCompileBurst; how many
// may be under way or wait is bounded too, by tenant and in all.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <utility>
#include <variant>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe; outlives its tickets.
class CompileLimits {
 public:
  // The right to compile one constraint. Its end charges what that took.
  class Ticket {
   public:
    Ticket(CompileLimits& limits, TenantId tenant) : limits_(limits), tenant_(std::move(tenant)) {}
    ~Ticket() { limits_.leave(tenant_, took_); }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    void took(std::chrono::nanoseconds time) { took_ = time; }

   private:
    CompileLimits& limits_;
    TenantId tenant_;
    std::chrono::nanoseconds took_{0};
  };

  // A ticket, or how long to wait before one may be had.
  std::variant<std::unique_ptr<Ticket>, std::chrono::nanoseconds> enter(const TenantId& tenant,
                                                                        SteadyTime now);

 private:
  struct Entry {
    std::chrono::nanoseconds used_at(SteadyTime now) const;

    std::chrono::nanoseconds used{0};  // at `at`; it drips away
    SteadyTime at;
    int open = 0;
  };

  void leave(const TenantId& tenant, std::chrono::nanoseconds took);

  Mutex mutex_;
  std::map<TenantId, Entry> entries_ TESSERA_GUARDED_BY(mutex_);
  int total_ TESSERA_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera
