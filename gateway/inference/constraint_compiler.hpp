// constraint_compiler.hpp — constraints for requests: from the cache, or compiled on threads apart.
//
// The cache is by content and shared by all tenants: a schema that anybody has used is there for
// everybody, with the masks that were made for it. What one tenant can learn of another's schemas
// by that is whether some tenant used exactly this one lately (it is compiled faster), and nothing
// of its text.
//
// Compiling has two threads of low priority: each constraint begins on the first with a small
// budget, and what needs more goes to the second, which takes next to nothing of a processor that
// is wanted otherwise, so that a hostile one keeps only others of its kind waiting.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "engine/guided/constraint.hpp"
#include "gateway/inference/compile_limits.hpp"
#include "gateway/served_model.hpp"
#include "gateway/workers.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe. Owned by Platform; `model` outlives it.
class ConstraintCompiler {
 public:
  struct Stats {
    std::uint64_t compiled = 0;
    std::uint64_t failed = 0;   // to compile
    std::uint64_t found = 0;    // in the cache
    std::uint64_t refused = 0;  // for their tenant's use of the compiler
    std::size_t cached = 0;     // now
    std::size_t cached_bytes = 0;
  };

  explicit ConstraintCompiler(const ServedModel& model) : model_(model) {}

  // The cached constraint of `spec` for answers in which `marks` are text; nullptr if it is not
  // there. Never compiles.
  std::shared_ptr<guided::Constraint> find(const std::vector<TokenId>& marks,
                                           const guided::ConstraintSpec& spec);

  // The right to compile one, or how long to wait for it.
  std::variant<std::unique_ptr<CompileLimits::Ticket>, std::chrono::nanoseconds> enter(
      const TenantId& tenant, SteadyTime now);

  using Compiled = std::variant<std::shared_ptr<guided::Constraint>, guided::CompileError>;
  enum class Budget : std::uint8_t { kQuick, kWhole };

  // Compiles, on the caller's thread, and keeps what comes out. Under kQuick the error's kind is
  // kTooComplex for what needs more. Errors: those of make_guided_vocabulary().
  Result<Compiled> compile(const std::vector<TokenId>& marks, const guided::ConstraintSpec& spec,
                           Budget budget, CompileLimits::Ticket& ticket);

  // The thread for each of the two budgets.
  Workers& workers(Budget budget) { return budget == Budget::kQuick ? quick_ : whole_; }

  Stats stats();

  void join() {
    quick_.join();
    whole_.join();
  }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<guided::Constraint> constraint;
  };

  Result<std::shared_ptr<const guided::Vocabulary>> vocabulary(const std::vector<TokenId>& marks);
  void keep(std::string key, std::shared_ptr<guided::Constraint> constraint);

  const ServedModel& model_;
  CompileLimits limits_;
  Workers quick_{1};
  Workers whole_{1};

  std::atomic<std::uint64_t> num_compiled_ = 0;
  std::atomic<std::uint64_t> num_failed_ = 0;
  std::atomic<std::uint64_t> num_found_ = 0;
  std::atomic<std::uint64_t> num_refused_ = 0;

  Mutex vocabularies_mutex_;
  std::map<std::vector<TokenId>, std::shared_ptr<const guided::Vocabulary>> vocabularies_
      TESSERA_GUARDED_BY(vocabularies_mutex_);

  Mutex mutex_;
  std::list<Entry> entries_ TESSERA_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
