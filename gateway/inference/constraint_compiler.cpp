#include "gateway/inference/constraint_compiler.hpp"

#include <ctime>
#include <utility>

#include "engine/guided/compiled_constraint.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/guided_vocabulary.hpp"
#include "storage/background.hpp"

namespace tessera {
namespace {

constexpr std::uint64_t kQuickFuel = 200'000;

void step_back_once(Behind how) {
  thread_local bool done = false;
  if (!done) step_back(how);
  done = true;
}

std::chrono::nanoseconds thread_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::string key_of(const std::vector<TokenId>& marks, const guided::ConstraintSpec& spec) {
  std::string key;
  for (const TokenId id : marks) key += std::to_string(id) + ',';
  return key + ';' + spec.key();
}

}  // namespace

std::shared_ptr<guided::Constraint> ConstraintCompiler::find(const std::vector<TokenId>& marks,
                                                             const guided::ConstraintSpec& spec) {
  const std::string key = key_of(marks, spec);
  const MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  num_found_.fetch_add(1, std::memory_order_relaxed);
  return found->second->constraint;
}

std::variant<std::unique_ptr<CompileLimits::Ticket>, std::chrono::nanoseconds>
ConstraintCompiler::enter(const TenantId& tenant, SteadyTime now) {
  auto entered = limits_.enter(tenant, now);
  if (std::holds_alternative<std::chrono::nanoseconds>(entered)) {
    num_refused_.fetch_add(1, std::memory_order_relaxed);
  }
  return entered;
}

Result<ConstraintCompiler::Compiled> ConstraintCompiler::compile(const std::vector<TokenId>& marks,
                                                                 const guided::ConstraintSpec& spec,
                                                                 Budget budget,
                                                                 CompileLimits::Ticket& ticket) {
  const bool quick = budget == Budget::kQuick;
  step_back_once(quick ? Behind::kTenth : Behind::kNothing);
  auto tokens = vocabulary(marks);
  if (!tokens) return tokens.error();
  guided::GuidedLimits limits;
  if (quick) limits.compile_fuel = limits.trial_fuel = kQuickFuel;
  const auto begin = thread_time();
  Compiled compiled = guided::compile_constraint(spec, *tokens, limits);
  ticket.took(thread_time() - begin);
  if (const auto* error = std::get_if<guided::CompileError>(&compiled)) {
    const bool final =
        budget == Budget::kWhole || error->kind != guided::CompileError::Kind::kTooComplex;
    if (final) num_failed_.fetch_add(1, std::memory_order_relaxed);
    return compiled;
  }
  num_compiled_.fetch_add(1, std::memory_order_relaxed);
  keep(key_of(marks, spec), std::get<std::shared_ptr<guided::Constraint>>(compiled));
  return compiled;
}

// Made once; who comes meanwhile waits.
Result<std::shared_ptr<const guided::Vocabulary>> ConstraintCompiler::vocabulary(
    const std::vector<TokenId>& marks) {
  const MutexLock lock(vocabularies_mutex_);
  const auto found = vocabularies_.find(marks);
  if (found != vocabularies_.end()) return found->second;
  auto made = make_guided_vocabulary(*model_.tokenizer, model_.packed->spec().vocab_size,
                                     model_.packed->info().eos_ids, marks);
  if (made) vocabularies_.emplace(marks, *made);
  return made;
}

// Evicts what was not used for longest. A constraint that is still in use lives on with its users.
void ConstraintCompiler::keep(std::string key, std::shared_ptr<guided::Constraint> constraint) {
  std::list<Entry> dropped;  // whose memory is given back without the lock
  const MutexLock lock(mutex_);
  if (by_key_.contains(key)) return;
  entries_.push_front({key, std::move(constraint)});
  by_key_.emplace(std::move(key), entries_.begin());
  std::size_t bytes = 0;
  auto last = entries_.begin();
  for (std::size_t count = 0; last != entries_.end(); ++last, ++count) {
    bytes += last->constraint->bytes();
    if (count == kMaxCachedConstraints || (count > 0 && bytes > kMaxConstraintCacheBytes)) break;
  }
  for (auto entry = last; entry != entries_.end(); ++entry) by_key_.erase(entry->key);
  dropped.splice(dropped.begin(), entries_, last, entries_.end());
}

ConstraintCompiler::Stats ConstraintCompiler::stats() {
  Stats stats{.compiled = num_compiled_.load(std::memory_order_relaxed),
              .failed = num_failed_.load(std::memory_order_relaxed),
              .found = num_found_.load(std::memory_order_relaxed),
              .refused = num_refused_.load(std::memory_order_relaxed)};
  const MutexLock lock(mutex_);
  stats.cached = entries_.size();
  for (const Entry& entry : entries_) stats.cached_bytes += entry.constraint->bytes();
  return stats;
}

}  // namespace tessera
